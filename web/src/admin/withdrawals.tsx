import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { admin, type PendingWithdrawal, WITHDRAWALS_PAGE } from "../api/admin";
import type { Page } from "../api/http";
import { grouped, longTime } from "../money/format";
import { useDeed, useLoaded } from "../state/asking";
import { firstPages } from "../state/paging";
import { notify } from "../state/toasts";
import { Card, FormError, OutOfDate, Waiting } from "../ui/sheet";
import { Sure } from "../ui/sure";
import { Owner } from "./owner";

/** Withdrawals move on by themselves, so they are asked for this often. */
const LOOK_EVERY_MS = 5_000;

export function Withdrawals() {
  // How many pages are shown. Any of them may change, so all are asked for again and again.
  const pages = useSignal(1);
  const list = useLoaded(() => firstPages(pages.peek(), WITHDRAWALS_PAGE, admin.withdrawals), pages.value);
  const { busy, error, run } = useDeed();
  // What is being asked about, one thing at a time. Until that is answered no row moves under the pointer.
  const asked = useSignal<string | null>(null);
  const shown = useRef<Page<PendingWithdrawal> | null>(null);
  if (asked.value === null) shown.current = list.data.value;
  useEffect(() => {
    const timer = setInterval(() => {
      if (asked.peek() === null) void list.reload();
    }, LOOK_EVERY_MS);
    return () => clearInterval(timer);
  }, []);
  const decide = (id: string, approve: boolean): void =>
    run(async () => {
      await (approve ? admin.approve(id) : admin.reject(id));
      notify(approve ? "good" : "plain", approve ? "The withdrawal may go" : "The withdrawal was rejected");
    }, list.reload);
  /** What both questions about a withdrawal have in common. */
  const question = (key: string) => ({
    disabled: busy.value || (asked.value !== null && asked.value !== key),
    onAsking: (asking: boolean): void => {
      asked.value = asking ? key : null;
      if (!asking) void list.reload();
    },
  });
  const all = shown.current?.items;
  // Whoever has asked for more waits until there are more.
  const loading = all !== undefined && all.length < pages.value * WITHDRAWALS_PAGE;
  return (
    <Card title="Withdrawals" about="Those that are not over; larger ones wait for you.">
      <FormError text={error.value} />
      <OutOfDate of={list} />
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
                {one.destination_tag !== null && (
                  <span>
                    tag <code>{one.destination_tag}</code>
                  </span>
                )}
                {one.crypto_transaction_hash && (
                  <span>
                    transaction <code>{one.crypto_transaction_hash}</code>
                  </span>
                )}
                <small>
                  {one.network} · fee {one.fee} · {longTime(one.created_at)} · by <Owner id={one.user_id} />
                </small>
              </div>
              {one.needs_approval && (
                <div class="row">
                  <Sure
                    name="Approve"
                    ask="Send it"
                    about={<WhereTo one={one} />}
                    kind="primary"
                    {...question(`approve ${one.id}`)}
                    onSure={() => decide(one.id, true)}
                  />
                  <Sure
                    name="Reject"
                    ask="Give the money back"
                    about={
                      <>
                        <strong>
                          {grouped(one.amount)} {one.currency}
                        </strong>{" "}
                        go back to the user's account.
                      </>
                    }
                    {...question(`reject ${one.id}`)}
                    onSure={() => decide(one.id, false)}
                  />
                </div>
              )}
            </li>
          ))}
        </ul>
      )}
      {shown.current?.after && (
        <button
          type="button"
          class="button block"
          aria-disabled={loading}
          onClick={() => {
            if (!loading) pages.value += 1;
          }}
        >
          {loading ? "Loading…" : "Show newer ones"}
        </button>
      )}
    </Card>
  );
}

/** All that decides where the money goes. */
function WhereTo({ one }: { one: PendingWithdrawal }) {
  return (
    <>
      Send{" "}
      <strong>
        {grouped(one.amount)} {one.currency}
      </strong>
      , less the fee of {one.fee}, over {one.network} to <code>{one.crypto_address}</code>
      {one.destination_tag === null ? (
        " without a tag"
      ) : (
        <>
          {" "}
          with the tag <code>{one.destination_tag}</code>
        </>
      )}
      ? It cannot be called back.
    </>
  );
}
