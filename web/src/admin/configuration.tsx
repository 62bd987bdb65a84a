import { useSignal } from "@preact/signals";
import { admin, type Setting } from "../api/admin";
import { longTime } from "../money/format";
import { useDeed, useLoaded } from "../state/asking";
import { notify } from "../state/toasts";
import { Card, FormError, OutOfDate, Switch, Waiting } from "../ui/sheet";
import { isLimit, typedValue, Untypable } from "./setting-value";

export function Configuration() {
  const settings = useLoaded(admin.settings);
  return (
    <Card
      title="Configuration"
      about="Changes count at once, on every node, without a restart. Every version is kept."
    >
      <OutOfDate of={settings} />
      {settings.data.value ? (
        <ul class="rows settings">
          {settings.data.value.map((setting) => (
            <Row key={setting.key} setting={setting} reload={settings.reload} />
          ))}
        </ul>
      ) : (
        <Waiting error={settings.error.value} />
      )}
    </Card>
  );
}

function Row({ setting, reload }: { setting: Setting; reload: () => Promise<void> }) {
  const { busy, error, run } = useDeed();
  const past = useSignal(false);
  // Also after a failure: somebody else may have changed it, or the answer to this change got lost. Against the version
  // that counts now it can be saved again.
  const save = (value: unknown): void =>
    run(async () => {
      await admin.set(setting.key, value, setting.version);
      notify("good", `${setting.key} was changed`);
    }, reload);
  return (
    <li data-setting={setting.key}>
      <div class="row-main">
        <strong>{setting.key}</strong>
        <small>{setting.about}</small>
        <small>
          {setting.version === 0
            ? "never changed"
            : `version ${setting.version}${setting.set_at ? `, ${longTime(setting.set_at)}` : ""}`}{" "}
          {setting.version > 0 && (
            <button
              type="button"
              class="link"
              aria-expanded={past.value}
              onClick={() => {
                past.value = !past.value;
              }}
            >
              history
            </button>
          )}
        </small>
        {past.value && <History key={setting.version} name={setting.key} />}
        <FormError text={error.value} />
      </div>
      {/* Another version is another editor: it begins with the new value. */}
      <Editor key={setting.version} setting={setting} busy={busy.value} save={save} />
    </li>
  );
}

function Editor({
  setting,
  busy,
  save,
}: {
  setting: Setting;
  busy: boolean;
  save: (value: unknown) => void;
}) {
  const { key, value } = setting;
  if (typeof value === "boolean") return <Switch label={key} on={value} busy={busy} onChange={save} />;
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const data = new FormData(event.currentTarget as HTMLFormElement);
    try {
      save(typedValue(value, (field) => String(data.get(field) ?? "")));
    } catch (error) {
      if (!(error instanceof Untypable)) throw error;
      notify("bad", `${key} was not changed`, error.message);
    }
  };
  const shown =
    typeof value === "string" || typeof value === "number" ? String(value) : JSON.stringify(value);
  return (
    <form class="editor" onSubmit={submit}>
      {isLimit(value) ? (
        <>
          <label>
            <input
              name="per_second"
              type="number"
              min="0"
              max="1000000"
              required
              defaultValue={String(value.per_second)}
            />
            <small>a second</small>
          </label>
          <label>
            <input
              name="burst"
              type="number"
              min="1"
              max="1000000"
              required
              defaultValue={String(value.burst)}
            />
            <small>at once</small>
          </label>
        </>
      ) : typeof value === "number" ? (
        <input name="value" type="number" min="0" step="1" required aria-label={key} defaultValue={shown} />
      ) : (
        <input name="value" aria-label={key} defaultValue={shown} />
      )}
      <button type="submit" class="button small" disabled={busy}>
        Save
      </button>
    </form>
  );
}

function History({ name }: { name: string }) {
  const history = useLoaded(() => admin.setting(name), name);
  if (!history.data.value) return <Waiting error={history.error.value} />;
  return (
    <ol class="history" reversed>
      {history.data.value.history.map((version) => (
        <li key={version.version} value={version.version}>
          <code>{JSON.stringify(version.value)}</code>
          <small>
            {longTime(version.set_at)}
            {version.set_by && ` by ${version.set_by.slice(0, 18)}…`}
          </small>
        </li>
      ))}
    </ol>
  );
}
