/** The shell around every page: header, page, dialogs, notices. */
import { AdminPage } from "./admin/page";
import { SettingsPage } from "./settings/page";
import { page } from "./state/route";
import { TradePage } from "./trade/page";
import { AuthDialog } from "./ui/auth-dialog";
import { Header } from "./ui/header";
import { Notice } from "./ui/notice";
import { Toasts } from "./ui/toasts";

const PAGES: Record<string, { view: () => preact.JSX.Element; skip: string }> = {
  settings: { view: () => <SettingsPage />, skip: "" },
  admin: { view: () => <AdminPage />, skip: "" },
};
const TRADE = { view: () => <TradePage />, skip: "#order-ticket" };

export function App() {
  // What every object has, such as "constructor", is no page.
  const known = Object.hasOwn(PAGES, page.value);
  const { view, skip } = (known && PAGES[page.value]) || TRADE;
  return (
    <div class="shell" data-page={known ? page.value : "trade"}>
      {skip && (
        <a class="skip" href={skip}>
          Skip to the order ticket
        </a>
      )}
      <Header />
      <Notice />
      {view()}
      <AuthDialog />
      <Toasts />
    </div>
  );
}
