import { render } from "preact";
import { App } from "./app";
import { startAccount } from "./state/account";
import { startMarket } from "./state/market";
import { arrive } from "./state/session";
import { startVenue } from "./state/venue";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/shell.css";
import "./styles/trade.css";
import "./styles/ticket.css";
import "./styles/admin.css";
import "./styles/sheet.css";
import "./styles/markets.css";

startVenue();
startMarket();
startAccount();
void arrive();

const root = document.getElementById("app");
if (root) render(<App />, root);
