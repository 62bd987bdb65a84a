import { useSignal } from "@preact/signals";
import { account } from "../api/account";
import { api } from "../api/http";
import { useDeed, useLoaded } from "../state/asking";
import { renewUser } from "../state/session";
import { notify } from "../state/toasts";
import { Card, FormError, Waiting } from "../ui/sheet";

/** Another e-mail address, confirmed by a code; a first one for those whose sign-in provider gave none. */
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
  const confirm = (event: SubmitEvent): void => {
    event.preventDefault();
    const email = mailed.value;
    const code = String(new FormData(event.currentTarget as HTMLFormElement).get("code") ?? "").trim();
    if (!email) return;
    run(async () => {
      const changed = await account.confirmEmail(email, code);
      user.data.value = changed;
      renewUser(changed);
      mailed.value = null;
      notify(
        "good",
        "Your e-mail address was saved",
        first ? "Sign out and choose “Forgot password” to set a password as well." : undefined,
      );
    });
  };

  const about = first
    ? "Your sign-in provider told us none. With one you can set a password and get mail."
    : `Yours is ${me.email}. A code is sent to the new one.`;
  return (
    <Card title="E-mail address" about={about}>
      {mailed.value ? (
        <form class="form" onSubmit={confirm} key="code">
          <label class="field">
            <span>Code that was sent to {mailed.value}</span>
            <input name="code" inputMode="numeric" autocomplete="one-time-code" required />
          </label>
          <FormError text={error.value} />
          <div class="row">
            <button type="submit" class="button primary" disabled={busy.value}>
              Confirm
            </button>
            <button
              type="button"
              class="button ghost"
              disabled={busy.value}
              onClick={() => {
                mailed.value = null;
              }}
            >
              Another address
            </button>
          </div>
        </form>
      ) : (
        <form class="form" onSubmit={ask} key="ask">
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
      )}
    </Card>
  );
}
