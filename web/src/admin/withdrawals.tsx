import { useEffect } from "preact/hooks";
import { admin } from "../api/admin";
import { grouped, longTime } from "../money/format";
import { useDeed, useLoaded } from "../state/asking";
import { notify } from "../state/toasts";
import { Card, FormError, Sure, Waiting } from "../ui/sheet";

/** Withdrawals move on by themselves, so they are asked for this often. */
const LOOK_EVERY_MS = 5_000;

export function Withdrawals() {
  const list = useLoaded(admin.withdrawals);
  const { busy, error, run } = useDeed();
  useEffect(() => {
    const timer = setInterval(() => void list.reload(), LOOK_EVERY_MS);
    return () => clearInterval(timer);
  }, []);
  const decide = (id: string, approve: boolean): void =>
    run(async () => {
      await (approve ? admin.approve(id) : admin.reject(id));
      notify(approve ? "good" : "plain", approve ? "The withdrawal may go" : "The withdrawal was rejected");
      await list.reload();
    });
  const all = list.data.value;
  return (
    <Card title="Withdrawals" about="Those that are not over; larger ones wait for you.">
      <FormError text={error.value} />
      {!all && <Waiting error={list.error.value} />}
      {all?.length === 0 && <Waiting error={null} empty="No withdrawal is under way." />}
      {all && all.length > 0 && (
        <ul class="rows">
          {all.map((one) => (
            <li key={one.id} data-withdrawal={one.id}>
              <div class="row-main">
                <strong>
                  {grouped(one.amount)} {one.currency}{" "}
                  {one.needs_approval ? (
                    <span class="badge warn">waits for approval</span>
                  ) : (
                    <span class="badge">{one.stage}</span>
                  )}
                </strong>
                <code>{one.crypto_address}</code>
                <small>
                  {one.network} · fee {one.fee} · {longTime(one.created_at)} · user {one.user_id}
                </small>
              </div>
              {one.needs_approval && (
                <div class="row">
                  <button
                    type="button"
                    class="button small primary"
                    disabled={busy.value}
                    onClick={() => decide(one.id, true)}
                  >
                    Approve
                  </button>
                  <Sure
                    name="Reject"
                    ask="Give the money back"
                    disabled={busy.value}
                    onSure={() => decide(one.id, false)}
                  />
                </div>
              )}
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}
