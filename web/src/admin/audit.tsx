import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { type AuditRow, admin } from "../api/admin";
import { ApiError } from "../api/http";
import { longTime } from "../money/format";
import { Card, Waiting } from "../ui/sheet";

export function Audit() {
  const filter = useSignal({ action: "", user: "" });
  const list = useSignal<AuditRow[] | null>(null);
  const next = useSignal<string | null>(null);
  const fault = useSignal<string | null>(null);

  const load = async (cursor: string | null): Promise<void> => {
    const asked = filter.peek();
    try {
      const page = await admin.audit(asked, cursor);
      if (asked !== filter.peek()) return;
      list.value = cursor ? [...(list.peek() ?? []), ...page.items] : page.items;
      next.value = page.items.length === 50 ? page.after : null;
      fault.value = null;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      fault.value = error.message;
    }
  };
  useEffect(() => {
    void load(null);
  }, [filter.value]);
  const search = (event: SubmitEvent): void => {
    event.preventDefault();
    const data = new FormData(event.currentTarget as HTMLFormElement);
    const text = (name: string) => String(data.get(name) ?? "").trim();
    filter.value = { action: text("action").replaceAll(" ", "_"), user: text("user") };
  };

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
      {fault.value && <Waiting error={fault.value} />}
      {!list.value && !fault.value && <Waiting error={null} />}
      {list.value?.length === 0 && <Waiting error={null} empty="Nothing of that kind has happened." />}
      {list.value && list.value.length > 0 && (
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
              {list.value.map((row) => (
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
      {next.value && (
        <button type="button" class="button block" onClick={() => void load(next.peek())}>
          Show older ones
        </button>
      )}
    </Card>
  );
}

/** Whose id this is; somebody who is gone has an id alone. */
function Who({ id, email }: { id: string | null; email: string | null }) {
  if (!id) return <span class="muted">–</span>;
  return <span title={id}>{email ?? `${id.slice(0, 18)}…`}</span>;
}
