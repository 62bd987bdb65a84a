import { useRef } from "preact/hooks";
import { account } from "../api/account";
import { api } from "../api/http";
import { longTime } from "../money/format";
import { useDeed, useLoaded } from "../state/asking";
import { renewUser } from "../state/session";
import { notify } from "../state/toasts";
import { UserIcon } from "../ui/icons";
import { Card, Copyable, FormError, Waiting } from "../ui/sheet";

/** What a user is called, and looks like, to others. */
export function Profile() {
  const user = useLoaded(api.me);
  const file = useRef<HTMLInputElement>(null);
  const { busy, error, run } = useDeed();
  const me = user.data.value;
  if (!me) return <Waiting error={user.error.value} />;

  const save = (event: SubmitEvent): void => {
    event.preventDefault();
    const name = String(new FormData(event.currentTarget as HTMLFormElement).get("name") ?? "");
    run(async () => {
      const changed = await account.setProfile(name);
      user.data.value = changed;
      renewUser(changed);
      notify("good", "Your name was saved");
    });
  };
  const upload = (): void => {
    const image = file.current?.files?.[0];
    if (!image) return;
    run(async () => {
      const changed = await account.setPhoto(image);
      user.data.value = changed;
      renewUser(changed);
      notify("good", "Your picture was saved");
    });
  };
  const remove = (): void =>
    run(async () => {
      const changed = await account.removePhoto();
      user.data.value = changed;
      renewUser(changed);
    });

  return (
    <>
      <Card title="Profile" about="How others see you in chat.">
        <div class="portrait">
          <Portrait photo={me.photo} />
          <div class="row">
            <input
              ref={file}
              type="file"
              accept="image/png,image/jpeg,image/gif,image/webp"
              class="visually-hidden"
              aria-label="Picture"
              onChange={upload}
            />
            <button type="button" class="button" disabled={busy.value} onClick={() => file.current?.click()}>
              {me.photo ? "Change the picture" : "Add a picture"}
            </button>
            {me.photo && (
              <button type="button" class="button ghost" disabled={busy.value} onClick={remove}>
                Remove
              </button>
            )}
          </div>
        </div>
        <form class="form" onSubmit={save}>
          <label class="field">
            <span>Name</span>
            <input name="name" maxLength={64} autocomplete="nickname" defaultValue={me.name ?? ""} />
          </label>
          <FormError text={error.value} />
          <button type="submit" class="button primary" disabled={busy.value}>
            Save
          </button>
        </form>
      </Card>
      <Card title="Account">
        <dl class="facts">
          <div>
            <dt>Email</dt>
            <dd>{me.email}</dd>
          </div>
          <div>
            <dt>Role</dt>
            <dd class="capital">{me.role}</dd>
          </div>
          <div>
            <dt>Member since</dt>
            <dd>{me.created_at ? longTime(me.created_at) : "–"}</dd>
          </div>
        </dl>
        <Copyable name="User ID" value={me.id} />
      </Card>
    </>
  );
}

/** A picture of ours, or the drawing of somebody without one: other sites' pictures are not loaded here. */
function Portrait({ photo }: { photo: string | undefined }) {
  const own = photo ? new URL(photo, location.href) : null;
  const shown = own?.pathname.startsWith("/v1/photos/") ? own.pathname : null;
  return (
    <div class="portrait-frame">
      {shown ? <img src={shown} alt="You" width="72" height="72" /> : <UserIcon />}
    </div>
  );
}
