import { useSignal } from "@preact/signals";
import { account, type EventKind, type Outlet, type OutletKind } from "../api/account";
import { api } from "../api/http";
import { longTime } from "../money/format";
import { useDeed, useLoaded } from "../state/asking";
import { product, products } from "../state/market";
import { notify } from "../state/toasts";
import { CloseIcon } from "../ui/icons";
import { Card, Copyable, FormError, OutOfDate, Switch, Waiting } from "../ui/sheet";
import { Unconfirmed } from "./confirm-address";

const EVENTS: readonly { id: EventKind; name: string; about: string }[] = [
  { id: "security", name: "Security", about: "sign-ins, passwords, keys" },
  { id: "fill", name: "Fills", about: "an order of yours was filled" },
  { id: "transfer", name: "Deposits & withdrawals", about: "money came or went" },
  { id: "price_alert", name: "Price alerts", about: "a price that you wait for" },
];

const OUTLETS: readonly { id: OutletKind; name: string }[] = [
  { id: "email", name: "Email" },
  { id: "line", name: "LINE" },
  { id: "webhook", name: "Webhook" },
];

/** What the user is told of, and by which way. */
export function Notifications() {
  return (
    <>
      <Preferences />
      <Alerts />
      <Failed />
    </>
  );
}

function Preferences() {
  const outlets = useLoaded(account.outlets);
  const me = useLoaded(api.me);
  const secret = useSignal<string | null>(null);
  const { busy, error, run } = useDeed();
  const known = outlets.data.value;
  if (!known) return <Waiting error={outlets.error.value} />;
  const of = (kind: OutletKind): Outlet | undefined => known.find((one) => one.outlet === kind);
  const hook = of("webhook");

  const toggle = (kind: OutletKind, event: EventKind, on: boolean): void =>
    run(async () => {
      const before = of(kind);
      const events = (before?.events ?? []).filter((one) => one !== event);
      if (on) events.push(event);
      if (events.length === 0 && kind !== "webhook") await account.removeOutlet(kind);
      else await account.putOutlet(kind, events, kind === "webhook" ? before?.url : undefined);
      await outlets.reload();
    });
  const saveHook = (submit: SubmitEvent): void => {
    submit.preventDefault();
    const url = String(new FormData(submit.currentTarget as HTMLFormElement).get("url") ?? "").trim();
    run(async () => {
      const made = await account.putOutlet("webhook", hook?.events ?? EVENTS.map((one) => one.id), url);
      secret.value = made.secret ?? null;
      notify("good", "The webhook was saved");
      await outlets.reload();
    });
  };

  return (
    <Card title="Notifications" about="What you are told of, and where.">
      <OutOfDate of={outlets} />
      {me.data.value && (
        <Unconfirmed
          me={me.data.value}
          onConfirmed={(user) => {
            me.data.value = user;
          }}
        />
      )}
      <div class="table-scroll">
        <table class="matrix">
          <thead>
            <tr>
              <th scope="col">Event</th>
              {OUTLETS.map((outlet) => (
                <th key={outlet.id} scope="col">
                  {outlet.name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {EVENTS.map((event) => (
              <tr key={event.id}>
                <th scope="row">
                  {event.name}
                  <small>{event.about}</small>
                </th>
                {OUTLETS.map((outlet) => (
                  <td key={outlet.id}>
                    <Switch
                      label={`${event.name} by ${outlet.name}`}
                      on={of(outlet.id)?.events.includes(event.id) ?? false}
                      disabled={outlet.id === "webhook" && !hook}
                      busy={busy.value}
                      onChange={(on) => toggle(outlet.id, event.id, on)}
                    />
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <FormError text={error.value} />
      <form class="form inline" onSubmit={saveHook}>
        <label class="field">
          <span>Webhook address: each event is a signed POST there</span>
          <input
            key={hook?.url}
            name="url"
            type="url"
            required
            placeholder="https://example.org/agora"
            defaultValue={hook?.url ?? ""}
          />
        </label>
        <button type="submit" class="button" disabled={busy.value}>
          Save
        </button>
        {hook && (
          <button
            type="button"
            class="button ghost"
            disabled={busy.value}
            onClick={() =>
              run(async () => {
                await account.removeOutlet("webhook");
                secret.value = null;
                await outlets.reload();
              })
            }
          >
            Remove
          </button>
        )}
      </form>
      {secret.value && (
        <div class="note">
          <p>This signs what is sent to you (Agora-Signature). It is shown only now.</p>
          <Copyable name="Secret" value={secret.value} />
        </div>
      )}
    </Card>
  );
}

function Alerts() {
  const alerts = useLoaded(account.alerts);
  const { busy, error, run } = useDeed();
  const add = (submit: SubmitEvent): void => {
    submit.preventDefault();
    const form = submit.currentTarget as HTMLFormElement;
    const data = new FormData(form);
    const text = (name: string) => String(data.get(name) ?? "").trim();
    run(async () => {
      await account.addAlert(
        text("product"),
        text("direction") === "below" ? "below" : "above",
        text("price"),
      );
      form.reset();
      await alerts.reload();
    });
  };
  return (
    <Card title="Price alerts" about="You are told once, when a trade reaches the price.">
      <form class="form inline" onSubmit={add}>
        <label class="field">
          <span>Market</span>
          <select name="product" key={product.value?.id} defaultValue={product.value?.id}>
            {products.value.map((one) => (
              <option key={one.id} value={one.id} selected={one.id === product.value?.id}>
                {one.id}
              </option>
            ))}
          </select>
        </label>
        <label class="field">
          <span>When at or</span>
          <select name="direction">
            <option value="above">above</option>
            <option value="below">below</option>
          </select>
        </label>
        <label class="field">
          <span>Price</span>
          <input name="price" inputMode="decimal" required />
        </label>
        <button type="submit" class="button" disabled={busy.value}>
          Add
        </button>
      </form>
      <FormError text={error.value} />
      <OutOfDate of={alerts} />
      {!alerts.data.value && <Waiting error={alerts.error.value} />}
      {alerts.data.value?.length === 0 && <Waiting error={null} empty="You wait for no price." />}
      <ul class="rows">
        {alerts.data.value?.map((alert) => (
          <li key={alert.id}>
            <div class="row-main">
              <strong>
                {alert.product_id} {alert.direction} {alert.price}
              </strong>
              <small>since {longTime(alert.created_at)}</small>
            </div>
            <button
              type="button"
              class="icon-button"
              aria-label={`Remove the alert for ${alert.product_id}`}
              disabled={busy.value}
              onClick={() =>
                run(async () => {
                  await account.removeAlert(alert.id);
                  await alerts.reload();
                })
              }
            >
              <CloseIcon />
            </button>
          </li>
        ))}
      </ul>
    </Card>
  );
}

/** Messages that nobody took, for half a day; nothing is shown where there are none. */
function Failed() {
  const failed = useLoaded(account.failed);
  const { busy, error, run } = useDeed();
  if (!failed.data.value?.length) return null;
  return (
    <Card title="Not delivered" about="These were tried for half a day and then given up.">
      <ul class="rows">
        {failed.data.value.map((message) => (
          <li key={message.id}>
            <div class="row-main">
              <strong>
                {message.event.replace("_", " ")} by {message.outlet}
              </strong>
              <small>
                {longTime(message.created_at)} · {message.attempts} tries · {message.error}
              </small>
            </div>
            <button
              type="button"
              class="button small"
              disabled={busy.value}
              onClick={() =>
                run(async () => {
                  await account.retry(message.id);
                  notify("plain", "It is tried once more");
                  await failed.reload();
                })
              }
            >
              Try again
            </button>
          </li>
        ))}
      </ul>
      <FormError text={error.value} />
    </Card>
  );
}
