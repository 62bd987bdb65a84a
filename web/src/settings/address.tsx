import { useSignal } from "@preact/signals";
import { account } from "../api/account";
import { api } from "../api/http";
import { useDeed, useLoaded } from "../state/asking";
import { notify } from "../state/toasts";
import { Card, FormError, Waiting } from "../ui/sheet";
import { AddressCode, Unconfirmed } from "./confirm-address";

/** The e-mail address, confirmed by a code: another one, or a first one for those whose sign-in provider gave none. */
export function Address() {
  const user = useLoaded(api.me);
  const mailed = useSignal<string | null>(null);
  const { busy, error, run } = useDeed();
  const me = user.data.value;
  if (!me) return <Waiting error={user.error.value} />;
  const first = me.has_email === false;

  const ask = (event: SubmitEvent): void => {
    event.preventDefault();
    const data = new FormData(event.currentTarget as HTMLFormElement);
    const email = String(data.get("email") ?? "").trim();
    run(async () => {
      await account.beginEmail(email, first ? undefined : String(data.get("password") ?? ""));
      mailed.value = email;
    });
  };

  const about = first
    ? "Your sign-in provider told us none. With one you can set a password and get mail."
    : `Yours is ${me.email}. A code is sent to the new one.`;
  return (
    <Card title="E-mail address" about={about}>
      {mailed.value ? (
        <AddressCode
          email={mailed.value}
          back="Another address"
          onBack={() => {
            mailed.value = null;
          }}
          onConfirmed={(changed) => {
            user.data.value = changed;
            mailed.value = null;
            notify(
              "good",
              "Your e-mail address was saved",
              first ? "Sign out and choose “Forgot password” to set a password as well." : undefined,
            );
          }}
        />
      ) : (
        <>
          <Unconfirmed
            me={me}
            onConfirmed={(changed) => {
              user.data.value = changed;
            }}
          />
          <form class="form" onSubmit={ask}>
            <label class="field">
              <span>New address</span>
              <input name="email" type="email" autocomplete="email" maxLength={254} required />
            </label>
            {!first && (
              <label class="field">
                <span>Password</span>
                <input name="password" type="password" autocomplete="current-password" required />
              </label>
            )}
            <FormError text={error.value} />
            <button type="submit" class="button primary" disabled={busy.value}>
              Send a code
            </button>
          </form>
        </>
      )}
    </Card>
  );
}
