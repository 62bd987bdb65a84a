/** Running the venue: what an administrator, and in part a supporter, sees and does. */
import { section } from "../state/route";
import { authDialog, session } from "../state/session";
import { type SectionLink, Sheet } from "../ui/sheet";
import { Audit } from "./audit";
import { Configuration } from "./configuration";
import { Links } from "./links";
import { Markets } from "./markets";
import { Overview } from "./overview";
import { Reports } from "./reports";
import { mayRun, RANK } from "./roles";
import { Users } from "./users";
import { Withdrawals } from "./withdrawals";

const SECTIONS = [
  { id: "overview", name: "Overview", role: "admin" },
  { id: "markets", name: "Markets", role: "admin" },
  { id: "users", name: "Users", role: "support" },
  { id: "withdrawals", name: "Withdrawals", role: "admin" },
  { id: "reports", name: "Reports", role: "moderator" },
  { id: "links", name: "Links", role: "moderator" },
  { id: "audit", name: "Audit log", role: "admin" },
  { id: "configuration", name: "Configuration", role: "admin" },
] as const satisfies readonly (SectionLink & { role: keyof typeof RANK })[];

export function AdminPage() {
  const role = session.value?.user.role ?? "user";
  if (!mayRun(role)) {
    return (
      <main class="page-message">
        <h1>Administration</h1>
        <p>{session.value ? "This page is for those who run the venue." : "Sign in as an administrator."}</p>
        {!session.value && (
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
        )}
      </main>
    );
  }
  // With the key nothing of one user stays on the page for the next.
  const open = SECTIONS.filter((one) => RANK[role] >= RANK[one.role]);
  const selected = open.find((one) => one.id === section.value)?.id ?? open[0]?.id;
  return (
    <Sheet
      key={session.value?.user.id}
      title="Administration"
      base="/admin"
      sections={open}
      selected={selected ?? ""}
    >
      {selected === "overview" && <Overview />}
      {selected === "markets" && <Markets />}
      {selected === "users" && <Users />}
      {selected === "withdrawals" && <Withdrawals />}
      {selected === "reports" && <Reports />}
      {selected === "links" && <Links />}
      {selected === "audit" && <Audit />}
      {selected === "configuration" && <Configuration />}
    </Sheet>
  );
}
