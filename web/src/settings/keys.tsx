import { useSignal } from "@preact/signals";
import { type ApiKey, account, type Permission } from "../api/account";
import { longTime } from "../money/format";
import { type Loaded, useDeed, useLoaded } from "../state/asking";
import { notify } from "../state/toasts";
import { Card, Copyable, FormError, OutOfDate, Waiting } from "../ui/sheet";
import { Sure } from "../ui/sure";

const PERMISSIONS: readonly { id: Permission; name: string; about: string }[] = [
  { id: "view", name: "View", about: "balances, orders, fills" },
  { id: "trade", name: "Trade", about: "place and cancel orders" },
  { id: "transfer", name: "Transfer", about: "withdraw and deposit" },
  { id: "links", name: "Links", about: "make and change short links" },
];

interface Fresh {
  key: string;
  secret: string;
  passphrase: string;
}

/** Keys for programs. A secret is shown once, when its key is made. */
export function ApiKeys() {
  const keys = useLoaded(account.keys);
  const adding = useSignal(false);
  const fresh = useSignal<Fresh | null>(null);
  return (
    <>
      {fresh.value && (
        <Card
          title="Your new key"
          about="The secret is shown only now. Whoever has all three can use the key."
          end={
            <button
              type="button"
              class="button primary"
              onClick={() => {
                fresh.value = null;
              }}
            >
              I have kept them
            </button>
          }
        >
          <Copyable name="Key" value={fresh.value.key} />
          <Copyable name="Secret" value={fresh.value.secret} />
          <Copyable name="Passphrase" value={fresh.value.passphrase} />
        </Card>
      )}
      {adding.value && (
        <NewKey
          onDone={(made) => {
            adding.value = false;
            if (!made) return;
            fresh.value = made;
            void keys.reload();
          }}
        />
      )}
      <Card
        title="API keys"
        about="Requests are signed as on Coinbase's exchange; existing bots work with another base URL."
        end={
          !adding.value && (
            <button
              type="button"
              class="button primary"
              onClick={() => {
                adding.value = true;
              }}
            >
              New key
            </button>
          )
        }
      >
        <KeyList keys={keys} />
      </Card>
    </>
  );
}

function KeyList({ keys }: { keys: Loaded<ApiKey[]> }) {
  const { busy, error, run } = useDeed();
  const all = keys.data.value;
  if (!all) return <Waiting error={keys.error.value} />;
  return (
    <>
      <OutOfDate of={keys} />
      {all.length === 0 && <Waiting error={null} empty="You have no API keys." />}
      <ul class="rows">
        {all.map((key) => (
          <li key={key.key} data-key={key.key}>
            <div class="row-main">
              <strong>
                {key.label || "Without a name"}{" "}
                {key.permissions.map((permission) => (
                  <span key={permission} class={permission === "transfer" ? "badge warn" : "badge"}>
                    {permission}
                  </span>
                ))}
              </strong>
              <code>{key.key}</code>
              <small>
                {key.last_used
                  ? `last used ${longTime(key.last_used)}${key.last_used_from ? ` from ${key.last_used_from}` : ""}`
                  : "never used"}
                {key.expires_at && ` · ends ${longTime(key.expires_at)}`}
                {key.networks.length > 0 && ` · only from ${key.networks.join(", ")}`}
              </small>
            </div>
            <Sure
              name="Revoke"
              ask="Revoke for good"
              disabled={busy.value}
              onSure={() =>
                run(async () => {
                  await account.revokeKey(key.key);
                  notify("plain", "The key was revoked");
                  await keys.reload();
                })
              }
            />
          </li>
        ))}
      </ul>
      <FormError text={error.value} />
    </>
  );
}

function NewKey({ onDone }: { onDone: (made: Fresh | null) => void }) {
  const { busy, error, run } = useDeed();
  const create = (event: SubmitEvent): void => {
    event.preventDefault();
    const data = new FormData(event.currentTarget as HTMLFormElement);
    const text = (name: string) => String(data.get(name) ?? "").trim();
    const passphrase = String(data.get("passphrase") ?? "");
    const until = text("until");
    run(async () => {
      const made = await account.createKey({
        label: text("label"),
        passphrase,
        permissions: data.getAll("permission") as Permission[],
        networks: text("networks")
          .split(/[\s,]+/)
          .filter(Boolean),
        ...(until ? { expires_at: new Date(`${until}T23:59:59`).toISOString() } : {}),
      });
      onDone({ key: made.key, secret: made.secret, passphrase });
    });
  };
  return (
    <Card title="New API key">
      <form class="form wide" onSubmit={create}>
        <div class="columns-2">
          <label class="field">
            <span>Name</span>
            <input name="label" maxLength={100} placeholder="Market maker" />
          </label>
          <label class="field">
            <span>Passphrase</span>
            <input name="passphrase" required maxLength={100} autocomplete="off" />
          </label>
        </div>
        <fieldset class="choices">
          <legend>Permissions</legend>
          {PERMISSIONS.map((one) => (
            <label key={one.id}>
              <input type="checkbox" name="permission" value={one.id} defaultChecked={one.id === "view"} />
              <span>
                {one.name}
                <small>{one.about}</small>
              </span>
            </label>
          ))}
        </fieldset>
        <div class="columns-2">
          <label class="field">
            <span>Only from these addresses or networks (optional)</span>
            <input name="networks" placeholder="198.51.100.7, 10.0.0.0/8" />
          </label>
          <label class="field">
            <span>Ends on (optional)</span>
            <input name="until" type="date" />
          </label>
        </div>
        <FormError text={error.value} />
        <div class="row">
          <button type="submit" class="button primary" disabled={busy.value}>
            Make the key
          </button>
          <button type="button" class="button ghost" onClick={() => onDone(null)}>
            Not now
          </button>
        </div>
      </form>
    </Card>
  );
}
