import { useSignal } from "@preact/signals";
import { admin, type Setting } from "../api/admin";
import { longTime } from "../money/format";
import { useDeed, useLoaded } from "../state/asking";
import { notify } from "../state/toasts";
import { Card, FormError, Switch, Waiting } from "../ui/sheet";

export function Configuration() {
  const settings = useLoaded(admin.settings);
  return (
    <Card
      title="Configuration"
      about="Changes count at once, on every node, without a restart. Every version is kept."
    >
      {settings.data.value ? (
        <ul class="rows settings">
          {settings.data.value.map((setting) => (
            // Another version is another row: its editor begins with the new value.
            <Row key={`${setting.key} ${setting.version}`} setting={setting} reload={settings.reload} />
          ))}
        </ul>
      ) : (
        <Waiting error={settings.error.value} />
      )}
    </Card>
  );
}

interface Limit {
  per_second: number;
  burst: number;
}

function isLimit(value: unknown): value is Limit {
  return typeof value === "object" && value !== null && "per_second" in value && "burst" in value;
}

function Row({ setting, reload }: { setting: Setting; reload: () => Promise<void> }) {
  const { busy, error, run } = useDeed();
  const past = useSignal(false);
  const save = (value: unknown): void =>
    run(async () => {
      await admin.set(setting.key, value, setting.version);
      notify("good", `${setting.key} was changed`);
      await reload();
    });
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
        {past.value && <History name={setting.key} />}
        <FormError text={error.value} />
      </div>
      <Editor setting={setting} busy={busy.value} save={save} />
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
  if (typeof value === "boolean") return <Switch label={key} on={value} disabled={busy} onChange={save} />;
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const data = new FormData(event.currentTarget as HTMLFormElement);
    const text = (name: string) => String(data.get(name) ?? "");
    if (isLimit(value)) save({ per_second: Number(text("per_second")), burst: Number(text("burst")) });
    else if (typeof value === "number") save(Number(text("value")));
    else if (typeof value === "string") save(text("value"));
    else {
      try {
        save(JSON.parse(text("value")));
      } catch {
        notify("bad", "This is no JSON", "The value of this setting is written in JSON.");
      }
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
