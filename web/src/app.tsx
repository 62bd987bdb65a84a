/** The shell around every page: header, page, dialogs, notices. */
import { TradePage } from "./trade/page";
import { AuthDialog } from "./ui/auth-dialog";
import { Header } from "./ui/header";
import { Toasts } from "./ui/toasts";

export function App() {
  return (
    <div class="shell">
      <a class="skip" href="#order-ticket">
        Skip to the order ticket
      </a>
      <Header />
      <TradePage />
      <AuthDialog />
      <Toasts />
    </div>
  );
}
