import { useSignal } from "@preact/signals";
import { account, type TotpSeed } from "../api/account";
import { api } from "../api/http";
import { longTime } from "../money/format";
import { useDeed, useLoaded } from "../state/asking";
import { passwordChanged } from "../state/session";
import { notify } from "../state/toasts";
import { Card, Copyable, FormError, OutOfDate, Waiting } from "../ui/sheet";
import { Sure } from "../ui/sure";
import { Address } from "./address";

export function Security() {
  return (
    <>
      <Password />
      <Address />
      <SecondFactor />
      <Identities />
    </>
  );
}

function Password() {
  const { busy, error, run } = useDeed();
  const save = (event: SubmitEvent): void => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const data = new FormData(form);
    run(async () => {
      const { ended_sessions } = await account.changePassword(
        String(data.get("old") ?? ""),
        String(data.get("new") ?? ""),
      );
      form.reset();
      passwordChanged();
      const others =
        ended_sessions.length === 1 ? "1 other session was" : `${ended_sessions.length} other sessions were`;
      notify(
        "good",
        "Your password was changed",
        ended_sessions.length ? `${others} signed out.` : undefined,
      );
    });
  };
  return (
    <Card title="Password" about="Changing it signs out all your other sessions.">
      <form class="form" onSubmit={save}>
        <label class="field">
          <span>Present password</span>
          <input name="old" type="password" autocomplete="current-password" required />
        </label>
        <label class="field">
          <span>New password</span>
          <input
            name="new"
            type="password"
            autocomplete="new-password"
            minLength={8}
            maxLength={128}
            required
          />
        </label>
        <FormError text={error.value} />
        <button type="submit" class="button primary" disabled={busy.value}>
          Change the password
        </button>
      </form>
    </Card>
  );
}

/** The steps of turning a second factor on. */
type Step =
  | { at: "start" }
  | { at: "scan"; seed: TotpSeed }
  | { at: "codes"; codes: string[] }
  | { at: "remove" };

function SecondFactor() {
  const state = useLoaded(account.secondFactor);
  const step = useSignal<Step>({ at: "start" });
  const { busy, error, run } = useDeed();
  const now = step.value;
  const enabled = state.data.value?.enabled ?? false;

  const begin = (): void =>
    run(async () => {
      step.value = { at: "scan", seed: await account.beginSecondFactor() };
    });
  const confirm = (event: SubmitEvent): void => {
    event.preventDefault();
    const code = String(new FormData(event.currentTarget as HTMLFormElement).get("code") ?? "").trim();
    run(async () => {
      const { recovery_codes } = await account.confirmSecondFactor(code);
      step.value = { at: "codes", codes: recovery_codes };
      await state.reload();
    });
  };
  const remove = (event: SubmitEvent): void => {
    event.preventDefault();
    const data = new FormData(event.currentTarget as HTMLFormElement);
    run(async () => {
      await account.removeSecondFactor(String(data.get("password") ?? ""), String(data.get("code") ?? ""));
      step.value = { at: "start" };
      notify("plain", "Two-factor authentication is off");
      await state.reload();
    });
  };

  const badge = enabled ? <span class="badge good">On</span> : <span class="badge">Off</span>;
  return (
    <Card
      title="Two-factor authentication"
      about="A code from an app on your phone, beside your password, whenever you sign in."
      end={state.data.value && badge}
    >
      {!state.data.value && <Waiting error={state.error.value} />}
      {state.data.value && now.at === "start" && (
        <>
          <FormError text={error.value} />
          {enabled ? (
            <button
              type="button"
              class="button"
              onClick={() => {
                step.value = { at: "remove" };
              }}
            >
              Turn it off
            </button>
          ) : (
            <button type="button" class="button primary" disabled={busy.value} onClick={begin}>
              Turn it on
            </button>
          )}
        </>
      )}
      {now.at === "scan" && (
        <form class="form scan" onSubmit={confirm}>
          <img
            class="qr"
            alt="QR code for an authenticator app"
            width="200"
            height="200"
            src={`data:image/svg+xml;utf8,${encodeURIComponent(now.seed.qr)}`}
          />
          <div>
            <p>Scan this with an authenticator app, or type the key in:</p>
            <Copyable name="Key" value={now.seed.secret} />
            <label class="field">
              <span>The code that it shows</span>
              <input
                name="code"
                inputMode="numeric"
                autocomplete="one-time-code"
                pattern="[0-9]{6}"
                maxLength={6}
                required
              />
            </label>
            <FormError text={error.value} />
            <div class="row">
              <button type="submit" class="button primary" disabled={busy.value}>
                Confirm
              </button>
              <button
                type="button"
                class="button ghost"
                onClick={() => {
                  step.value = { at: "start" };
                }}
              >
                Not now
              </button>
            </div>
          </div>
        </form>
      )}
      {now.at === "codes" && (
        <div>
          <p>
            <strong>Keep these recovery codes.</strong> Each lets you in once when you have lost your phone.
            They are shown only now.
          </p>
          <ul class="codes">
            {now.codes.map((code) => (
              <li key={code}>
                <code>{code}</code>
              </li>
            ))}
          </ul>
          <div class="row">
            <button
              type="button"
              class="button"
              onClick={() => {
                void navigator.clipboard
                  .writeText(now.codes.join("\n"))
                  .then(() => notify("plain", "Recovery codes copied"))
                  .catch(() => notify("plain", "Select the codes and copy them by hand"));
              }}
            >
              Copy all
            </button>
            <button
              type="button"
              class="button primary"
              onClick={() => {
                step.value = { at: "start" };
              }}
            >
              I have kept them
            </button>
          </div>
        </div>
      )}
      {now.at === "remove" && (
        <form class="form" onSubmit={remove}>
          <label class="field">
            <span>Password</span>
            <input name="password" type="password" autocomplete="current-password" required />
          </label>
          <label class="field">
            <span>A code of the app, or a recovery code</span>
            <input name="code" autocomplete="one-time-code" required />
          </label>
          <FormError text={error.value} />
          <div class="row">
            <button type="submit" class="button danger solid" disabled={busy.value}>
              Turn it off
            </button>
            <button
              type="button"
              class="button ghost"
              onClick={() => {
                step.value = { at: "start" };
              }}
            >
              Keep it on
            </button>
          </div>
        </form>
      )}
    </Card>
  );
}

/** Other places that may say who this is. Nothing is shown where none is set up. */
function Identities() {
  const providers = useLoaded(api.providers);
  const linked = useLoaded(account.identities);
  const { busy, error, run } = useDeed();
  const known = providers.data.value;
  if (known ? known.length === 0 : !providers.error.value) return null;
  return (
    <Card title="Connected accounts" about="Sign in with these instead of your password.">
      <OutOfDate of={linked} />
      {!(known && linked.data.value) && <Waiting error={providers.error.value ?? linked.error.value} />}
      <ul class="rows">
        {(linked.data.value ? (known ?? []) : []).map((provider) => {
          const own = linked.data.value?.find((one) => one.provider === provider.id);
          return (
            <li key={provider.id}>
              <div class="row-main">
                <strong>{provider.name}</strong>
                <small>{own ? `Connected ${longTime(own.linked_at)}` : "Not connected"}</small>
              </div>
              {own ? (
                <Sure
                  name="Disconnect"
                  ask="Disconnect"
                  disabled={busy.value}
                  onSure={() =>
                    run(async () => {
                      await account.unlink(provider.id);
                      await linked.reload();
                    })
                  }
                />
              ) : (
                <button
                  type="button"
                  class="button small"
                  disabled={busy.value}
                  onClick={() =>
                    run(async () => {
                      location.assign((await account.link(provider.id, "/settings/security")).url);
                    })
                  }
                >
                  Connect
                </button>
              )}
            </li>
          );
        })}
      </ul>
      <FormError text={error.value} />
    </Card>
  );
}
