import { adminLinks, type BlockedHost } from "../api/admin-links";
import { longTime } from "../money/format";
import { type Loaded, useDeed } from "../state/asking";
import { notify } from "../state/toasts";
import { Card, FormError, OutOfDate, Waiting } from "../ui/sheet";
import { Sure } from "../ui/sure";
import { Owner } from "./owner";

interface Props {
  hosts: Loaded<BlockedHost[]>;
}

/** Hosts that no link may lead to; those that the server was started with are not among them. */
export function BlockedHosts({ hosts }: Props) {
  const { busy, error, run } = useDeed();
  const add = (event: SubmitEvent): void => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const text = (name: string) => String(new FormData(form).get(name) ?? "").trim();
    run(async () => {
      const { host } = await adminLinks.blockHost(text("host"), text("note"));
      notify("good", `${host} is blocked`, "Links that lead there stop at once.");
      form.reset();
      await hosts.reload();
    });
  };
  const remove = (host: string): void =>
    run(async () => {
      await adminLinks.unblockHost(host);
      notify("plain", `Links may lead to ${host} again`);
      await hosts.reload();
    });
  const all = hosts.data.value;
  return (
    <Card
      title="Blocked hosts"
      about="No link may lead to them or to names below them; those that do already stop until the host is taken off the list."
    >
      <form class="form inline" onSubmit={add}>
        <label class="field">
          <span>Host</span>
          <input name="host" required placeholder="bad.example" maxLength={260} autocomplete="off" />
        </label>
        <label class="field">
          <span>Note</span>
          <input name="note" placeholder="Why" maxLength={500} />
        </label>
        <button type="submit" class="button danger solid" disabled={busy.value}>
          Block the host
        </button>
      </form>
      <FormError text={error.value} />
      <OutOfDate of={hosts} />
      {!all && <Waiting error={hosts.error.value} />}
      {all?.length === 0 && <Waiting error={null} empty="No host is blocked." />}
      {all && all.length > 0 && (
        <ul class="rows">
          {all.map((one) => (
            <li key={one.host} data-host={one.host}>
              <div class="row-main">
                <strong>{one.host}</strong>
                {one.note && <span class="said">{one.note}</span>}
                <small>
                  since {longTime(one.at)} by <Owner id={one.by} />
                </small>
              </div>
              <Sure
                name="Take off"
                ask="Let links lead there"
                disabled={busy.value}
                onSure={() => remove(one.host)}
              />
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}
