import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { AUDIT_PAGE, admin } from "../api/admin";
import { longTime } from "../money/format";
import { usePaged } from "../state/paging";
import { Card, OutOfDate, ShowMore, Waiting } from "../ui/sheet";

export function Audit() {
  const filter = useSignal({ action: "", user: "" });
  const list = usePaged(AUDIT_PAGE, admin.audit);
  useEffect(() => void list.ask(filter.value), [filter.value]);
  const search = (event: SubmitEvent): void => {
    event.preventDefault();
    const data = new FormData(event.currentTarget as HTMLFormElement);
    const text = (name: string) => String(data.get(name) ?? "").trim();
    filter.value = { action: text("action").replaceAll(" ", "_"), user: text("user") };
  };
  const rows = list.data.value;

  return (
    <Card title="Audit log" about="Every security event and every act of an administrator, newest first.">
      <form class="form inline" onSubmit={search}>
        <label class="field">
          <span>What</span>
          <input name="action" placeholder="frozen" />
        </label>
        <label class="field">
          <span>To whom (user ID)</span>
          <input name="user" />
        </label>
        <button type="submit" class="button">
          Filter
        </button>
      </form>
      <OutOfDate of={list} />
      {!rows && <Waiting error={list.error.value} />}
      {rows?.length === 0 && <Waiting error={null} empty="Nothing of that kind has happened." />}
      {rows && rows.length > 0 && (
        <div class="table-scroll">
          <table class="list audit">
            <thead>
              <tr>
                <th scope="col">When</th>
                <th scope="col">What</th>
                <th scope="col">By</th>
                <th scope="col">To</th>
                <th scope="col">From</th>
                <th scope="col">Detail</th>
              </tr>
            </thead>
            <tbody>
              {rows.map((row) => (
                <tr key={row.id}>
                  <td class="muted">{longTime(row.at)}</td>
                  <td>{row.action.replaceAll("_", " ")}</td>
                  <td>
                    <Who id={row.actor} email={row.actor_email} />
                  </td>
                  <td>
                    <Who id={row.user} email={row.user_email} />
                  </td>
                  <td class="muted">{row.address ?? "–"}</td>
                  <td class="detail">
                    <code title={JSON.stringify(row.detail, null, 2)}>{JSON.stringify(row.detail)}</code>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <ShowMore of={list} name="Show older ones" />
    </Card>
  );
}

/** Whose id this is; somebody who is gone has an id alone. */
function Who({ id, email }: { id: string | null; email: string | null }) {
  if (!id) return <span class="muted">–</span>;
  return <span title={id}>{email ?? `${id.slice(0, 18)}…`}</span>;
}
