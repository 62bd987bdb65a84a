import { useSignal } from "@preact/signals";
import { account } from "../api/account";
import type { User } from "../api/types";
import { useDeed } from "../state/asking";
import { renewUser } from "../state/session";
import { notify } from "../state/toasts";
import { FormError } from "../ui/sheet";

interface CodeProps {
  /** Where the code was mailed. */
  email: string;
  /** What else one may do, instead of typing the code. */
  back: string;
  onBack: () => void;
  /** The address counts and is confirmed now. */
  onConfirmed: (user: User) => void;
}

/** Takes the code that was mailed to an address. */
export function AddressCode({ email, back, onBack, onConfirmed }: CodeProps) {
  const { busy, error, run } = useDeed();
  const confirm = (event: SubmitEvent): void => {
    event.preventDefault();
    const code = String(new FormData(event.currentTarget as HTMLFormElement).get("code") ?? "").trim();
    run(async () => {
      const changed = await account.confirmEmail(email, code);
      renewUser(changed);
      onConfirmed({ ...changed, email_confirmed: true });
    });
  };
  return (
    <form class="form" onSubmit={confirm}>
      <label class="field">
        <span>Code that was sent to {email}</span>
        <input name="code" inputMode="numeric" autocomplete="one-time-code" required />
      </label>
      <FormError text={error.value} />
      <div class="row">
        <button type="submit" class="button primary" disabled={busy.value}>
          Confirm
        </button>
        <button type="button" class="button ghost" disabled={busy.value} onClick={onBack}>
          {back}
        </button>
      </div>
    </form>
  );
}

/** Says that the own address is not confirmed, and lets its user do so; nothing for whoever has none or has done it. */
export function Unconfirmed({ me, onConfirmed }: { me: User; onConfirmed: (user: User) => void }) {
  const mailed = useSignal(false);
  const { busy, error, run } = useDeed();
  if (me.has_email === false || me.email_confirmed !== false) return null;
  if (mailed.value) {
    return (
      <AddressCode
        email={me.email}
        back="Not now"
        onBack={() => {
          mailed.value = false;
        }}
        onConfirmed={(user) => {
          mailed.value = false;
          notify("good", "Your e-mail address was confirmed");
          onConfirmed(user);
        }}
      />
    );
  }
  return (
    <div class="note">
      <p>{me.email} is not confirmed yet, so no notifications are mailed to it.</p>
      <FormError text={error.value} />
      <button
        type="button"
        class="button"
        disabled={busy.value}
        onClick={() =>
          run(async () => {
            await account.beginEmail(me.email);
            mailed.value = true;
          })
        }
      >
        Confirm
      </button>
    </div>
  );
}
