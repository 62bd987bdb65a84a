/** Settings of the signed-in user, one part at a time. */
import { section } from "../state/route";
import { authDialog, session } from "../state/session";
import { type SectionLink, Sheet } from "../ui/sheet";
import { ApiKeys } from "./keys";
import { Notifications } from "./notifications";
import { Profile } from "./profile";
import { Security } from "./security";
import { Sessions } from "./sessions";

const SECTIONS = [
  { id: "profile", name: "Profile" },
  { id: "security", name: "Security" },
  { id: "sessions", name: "Sessions" },
  { id: "keys", name: "API keys" },
  { id: "notifications", name: "Notifications" },
] as const satisfies readonly SectionLink[];

export function SettingsPage() {
  if (!session.value) {
    return (
      <main class="page-message">
        <h1>Settings</h1>
        <p>Sign in to see and change your settings.</p>
        <p>
          <button
            type="button"
            class="button primary"
            onClick={() => {
              authDialog.value = "sign-in";
            }}
          >
            Sign in
          </button>
        </p>
      </main>
    );
  }
  // With the key nothing of one user stays on the page for the next.
  const selected = SECTIONS.find((one) => one.id === section.value)?.id ?? "profile";
  return (
    <Sheet
      key={session.value.user.id}
      title="Settings"
      base="/settings"
      sections={SECTIONS}
      selected={selected}
    >
      {selected === "profile" && <Profile />}
      {selected === "security" && <Security />}
      {selected === "sessions" && <Sessions />}
      {selected === "keys" && <ApiKeys />}
      {selected === "notifications" && <Notifications />}
    </Sheet>
  );
}
