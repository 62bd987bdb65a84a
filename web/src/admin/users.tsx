import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { type AdminUserDetail, admin, USERS_PAGE } from "../api/admin";
import type { Role } from "../api/types";
import { counted, grouped, longTime } from "../money/format";
import { type Deed, useDeed, useLoaded } from "../state/asking";
import { usePaged } from "../state/paging";
import { item, navigate } from "../state/route";
import { session } from "../state/session";
import { notify } from "../state/toasts";
import { CloseIcon } from "../ui/icons";
import { Card, Copyable, FormError, OutOfDate, ShowMore, Waiting } from "../ui/sheet";
import { Sure } from "../ui/sure";
import { RANK } from "./roles";

/** How long somebody may pause in typing before the server is asked, ms. */
const PAUSE_MS = 250;

export function Users() {
  const wanted = useSignal("");
  const list = usePaged(USERS_PAGE, admin.users);
  useEffect(() => {
    const timer = setTimeout(() => void list.ask(wanted.value), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [wanted.value]);
  const all = list.data.value;

  return (
    <>
      {item.value && (
        <Detail
          key={item.value}
          id={item.value}
          onClose={() => navigate("/admin/users")}
          onChanged={() => void list.again()}
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
        <OutOfDate of={list} />
        {!all && <Waiting error={list.error.value} />}
        {all?.length === 0 && <Waiting error={null} empty="Nobody has such an address." />}
        {all && all.length > 0 && (
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
                {all.map((user) => (
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
        <ShowMore of={list} />
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
      <OutOfDate of={user} />
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
  const deed = useDeed();
  const { busy, error, run } = deed;
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
      // The account may be frozen though its orders could not be canceled.
    }, onChanged);
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
              }, onChanged)
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
        {!own && <RoleChoice user={user} deed={deed} onChanged={onChanged} />}
        <Sure
          name="Sign out everywhere"
          ask="End all sessions"
          disabled={busy.value}
          onSure={() =>
            run(async () => {
              const { ended_sessions } = await admin.signOut(user.id);
              notify("good", `${ended_sessions.length} sessions were ended`);
            }, onChanged)
          }
        />
      </div>
      <FormError text={error.value} />
    </div>
  );
}

/** Chosen first, and changed only when that is confirmed: a role is power over others, and a list slips easily. */
function RoleChoice({
  user,
  deed: { busy, run },
  onChanged,
}: {
  user: AdminUserDetail;
  deed: Deed;
  onChanged: () => Promise<void>;
}) {
  const choice = useSignal<Role | null>(null);
  const role = choice.value ?? user.role;
  const change = (): void =>
    run(async () => {
      await admin.setRole(user.id, role);
      choice.value = null;
      notify("good", `${user.email} is ${role} now`, "Their sessions were signed out.");
    }, onChanged);
  return (
    <>
      <label class="field inline-field">
        <span>Role</span>
        <select
          value={role}
          disabled={busy.value}
          onChange={(event) => {
            choice.value = event.currentTarget.value as Role;
          }}
        >
          {(Object.keys(RANK) as Role[]).map((one) => (
            <option key={one} value={one}>
              {one}
            </option>
          ))}
        </select>
      </label>
      <Sure
        // Another choice is another question.
        key={role}
        name="Change role"
        ask={`Make them ${role}`}
        about={`${user.email} is ${user.role} now. With another role all their sessions end.`}
        disabled={busy.value || role === user.role}
        onSure={change}
      />
    </>
  );
}
