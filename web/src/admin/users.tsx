import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { type AdminUser, type AdminUserDetail, admin } from "../api/admin";
import { ApiError } from "../api/http";
import type { Role } from "../api/types";
import { counted, grouped, longTime } from "../money/format";
import { useDeed, useLoaded } from "../state/asking";
import { item, navigate } from "../state/route";
import { session } from "../state/session";
import { notify } from "../state/toasts";
import { CloseIcon } from "../ui/icons";
import { Card, Copyable, FormError, Sure, Waiting } from "../ui/sheet";
import { RANK } from "./roles";

/** How long somebody may pause in typing before the server is asked, ms. */
const PAUSE_MS = 250;

export function Users() {
  const wanted = useSignal("");
  const asked = useSignal("");
  const list = useSignal<AdminUser[] | null>(null);
  const after = useSignal<string | null>(null);
  const fault = useSignal<string | null>(null);
  const load = async (text: string, cursor: string | null): Promise<void> => {
    try {
      const page = await admin.users(text, cursor);
      if (text !== asked.peek()) return;
      list.value = cursor ? [...(list.peek() ?? []), ...page.items] : page.items;
      after.value = page.items.length === 25 ? page.after : null;
      fault.value = null;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      fault.value = error.message;
    }
  };
  useEffect(() => {
    const timer = setTimeout(() => {
      asked.value = wanted.value;
      void load(wanted.value, null);
    }, PAUSE_MS);
    return () => clearTimeout(timer);
  }, [wanted.value]);

  return (
    <>
      {item.value && (
        <Detail
          key={item.value}
          id={item.value}
          onClose={() => navigate("/admin/users")}
          onChanged={() => void load(asked.peek(), null)}
        />
      )}
      <Card
        title="Users"
        end={
          <input
            class="search"
            type="search"
            placeholder="Search by email"
            aria-label="Search by email"
            value={wanted.value}
            onInput={(event) => {
              wanted.value = event.currentTarget.value;
            }}
          />
        }
      >
        {!list.value && <Waiting error={fault.value} />}
        {list.value?.length === 0 && <Waiting error={null} empty="Nobody has such an address." />}
        {list.value && list.value.length > 0 && (
          <div class="table-scroll">
            <table class="list users">
              <thead>
                <tr>
                  <th scope="col">Email</th>
                  <th scope="col">Name</th>
                  <th scope="col">Role</th>
                  <th scope="col">State</th>
                  <th scope="col">Last sign-in</th>
                  <th scope="col">Member since</th>
                </tr>
              </thead>
              <tbody>
                {list.value.map((user) => (
                  <tr key={user.id}>
                    <td>
                      <button
                        type="button"
                        class="link"
                        onClick={() => {
                          navigate(`/admin/users/${user.id}`);
                          scrollTo({ top: 0 });
                        }}
                      >
                        {user.email}
                      </button>
                    </td>
                    <td>{user.name}</td>
                    <td class="capital">{user.role}</td>
                    <td>
                      {user.frozen ? (
                        <span class="badge bad">frozen</span>
                      ) : (
                        <span class="badge good">active</span>
                      )}
                    </td>
                    <td class="muted">{user.last_sign_in_at ? longTime(user.last_sign_in_at) : "–"}</td>
                    <td class="muted">{user.created_at ? longTime(user.created_at) : "–"}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
        {after.value && (
          <button type="button" class="button block" onClick={() => void load(asked.peek(), after.peek())}>
            Show more
          </button>
        )}
      </Card>
    </>
  );
}

function Detail({ id, onClose, onChanged }: { id: string; onClose: () => void; onChanged: () => void }) {
  const user = useLoaded(() => admin.user(id), id);
  const one = user.data.value;
  const close = (
    <button type="button" class="icon-button" aria-label="Close" onClick={onClose}>
      <CloseIcon />
    </button>
  );
  if (!one) {
    return (
      <Card title="User" end={close}>
        <Waiting error={user.error.value} />
      </Card>
    );
  }
  const changed = async (): Promise<void> => {
    await user.reload();
    onChanged();
  };
  return (
    <Card title={one.email} about={one.name || undefined} end={close}>
      <dl class="facts">
        <div>
          <dt>Role</dt>
          <dd class="capital">{one.role}</dd>
        </div>
        <div>
          <dt>State</dt>
          <dd>
            {one.frozen ? <span class="badge bad">frozen</span> : <span class="badge good">active</span>}
          </dd>
        </div>
        <div>
          <dt>Sessions</dt>
          <dd>{one.sessions}</dd>
        </div>
        <div>
          <dt>API keys</dt>
          <dd>{one.api_keys}</dd>
        </div>
        <div>
          <dt>Last sign-in</dt>
          <dd>{one.last_sign_in_at ? longTime(one.last_sign_in_at) : "–"}</dd>
        </div>
      </dl>
      <Copyable name="User ID" value={one.id} />
      <div class="table-scroll">
        <table class="list">
          <thead>
            <tr>
              <th scope="col">Currency</th>
              <th scope="col" class="num">
                Available
              </th>
              <th scope="col" class="num">
                On hold
              </th>
            </tr>
          </thead>
          <tbody>
            {one.balances.map((balance) => (
              <tr key={balance.currency}>
                <td>{balance.currency}</td>
                <td class="num">{grouped(balance.available)}</td>
                <td class="num muted">{grouped(balance.hold)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {RANK[session.value?.user.role ?? "user"] >= RANK.admin && <Deeds user={one} onChanged={changed} />}
    </Card>
  );
}

/** What an administrator does with an account. */
function Deeds({ user, onChanged }: { user: AdminUserDetail; onChanged: () => Promise<void> }) {
  const { busy, error, run } = useDeed();
  const own = user.id === session.value?.user.id;
  const freeze = (event: SubmitEvent): void => {
    event.preventDefault();
    const data = new FormData(event.currentTarget as HTMLFormElement);
    run(async () => {
      const { canceled_orders } = await admin.freeze(
        user.id,
        String(data.get("reason") ?? "").trim(),
        data.get("cancel") !== null,
      );
      notify(
        "good",
        `${user.email} is frozen`,
        canceled_orders ? `${counted(canceled_orders, "order")} canceled` : undefined,
      );
      await onChanged();
    });
  };
  return (
    <div class="deeds">
      {user.frozen ? (
        <div class="row">
          <Sure
            name="Unfreeze"
            ask="Let it trade again"
            disabled={busy.value}
            onSure={() =>
              run(async () => {
                await admin.unfreeze(user.id);
                notify("good", `${user.email} may trade again`);
                await onChanged();
              })
            }
          />
          <Sure
            name="Cancel open orders"
            ask="Cancel all of them"
            disabled={busy.value}
            onSure={() =>
              run(async () => {
                const { canceled_orders } = await admin.freeze(user.id, "open orders canceled", true);
                notify("good", `${counted(canceled_orders, "order")} canceled`);
              })
            }
          />
        </div>
      ) : (
        <form class="form inline" onSubmit={freeze}>
          <label class="field">
            <span>Freeze the account: no orders, no withdrawals</span>
            <input name="reason" placeholder="Why" required />
          </label>
          <label class="check">
            <input type="checkbox" name="cancel" defaultChecked />
            <span>Cancel open orders</span>
          </label>
          <button type="submit" class="button danger solid" disabled={busy.value}>
            Freeze
          </button>
        </form>
      )}
      <div class="row">
        {!own && (
          <label class="field inline-field">
            <span>Role</span>
            <select
              value={user.role}
              disabled={busy.value}
              onChange={(event) => {
                const role = event.currentTarget.value as Role;
                run(async () => {
                  await admin.setRole(user.id, role);
                  notify("good", `${user.email} is ${role} now`, "Their sessions were signed out.");
                  await onChanged();
                });
              }}
            >
              {(Object.keys(RANK) as Role[]).map((role) => (
                <option key={role} value={role}>
                  {role}
                </option>
              ))}
            </select>
          </label>
        )}
        <Sure
          name="Sign out everywhere"
          ask="End all sessions"
          disabled={busy.value}
          onSure={() =>
            run(async () => {
              const { ended_sessions } = await admin.signOut(user.id);
              notify("good", `${ended_sessions.length} sessions were ended`);
              await onChanged();
            })
          }
        />
      </div>
      <FormError text={error.value} />
    </div>
  );
}
