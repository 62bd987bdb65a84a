/** Open orders and own fills. */
import { useSignal } from "@preact/signals";
import { ApiError, api } from "../api/http";
import type { Fill, Order } from "../api/types";
import { Decimal } from "../money/decimal";
import { grouped, shortTime } from "../money/format";
import {
  accountError,
  fills,
  moreOrders,
  olderFills,
  openOrders,
  refreshSoon,
  showMoreFills,
  showMoreOrders,
} from "../state/account";
import { product } from "../state/market";
import { authDialog, session } from "../state/session";
import { notify } from "../state/toasts";
import { CloseIcon } from "../ui/icons";
import { Tabs } from "../ui/tabs";
import { cancelAll } from "./in-part";

type Tab = "orders" | "fills";

export function Activity() {
  const tab = useSignal<Tab>("orders");
  const busy = useSignal(false);
  const count = openOrders.value?.length ?? 0;

  const cancel = async (): Promise<void> => {
    busy.value = true;
    try {
      await cancelAll();
    } finally {
      busy.value = false;
      refreshSoon();
    }
  };

  return (
    <section class="panel activity-panel" aria-label="Your orders">
      <div class="panel-head">
        <Tabs
          label="Your orders"
          tabs={[
            {
              id: "orders",
              name: (
                <>
                  Open orders{" "}
                  <span class="count">
                    {count}
                    {moreOrders.value && "+"}
                  </span>
                </>
              ),
            },
            { id: "fills", name: "Your fills" },
          ]}
          selected={tab.value}
          onSelect={(id) => {
            tab.value = id;
          }}
        />
        {accountError.value && <span class="stale">Out of date: {accountError.value}</span>}
        {tab.value === "orders" && count > 0 && (
          <button type="button" class="link" disabled={busy.value} onClick={() => void cancel()}>
            Cancel all
          </button>
        )}
      </div>
      <div
        class="scroll-area"
        role="tabpanel"
        aria-label={tab.value === "orders" ? "Open orders" : "Your fills"}
      >
        {!session.value ? <SignedOut /> : tab.value === "orders" ? <Orders /> : <Fills />}
        {session.value && tab.value === "orders" && moreOrders.value && <More onClick={showMoreOrders} />}
        {session.value && tab.value === "fills" && olderFills.value !== null && (
          <More onClick={() => void showMoreFills()} />
        )}
      </div>
    </section>
  );
}

function More({ onClick }: { onClick: () => void }) {
  return (
    <button type="button" class="button block" onClick={onClick}>
      Show more
    </button>
  );
}

function SignedOut() {
  return (
    <p class="empty">
      <button
        type="button"
        class="link"
        onClick={() => {
          authDialog.value = "sign-in";
        }}
      >
        Sign in
      </button>{" "}
      to see your orders and fills.
    </p>
  );
}

function Orders() {
  const orders = openOrders.value;
  if (!orders) return <p class="empty">Loading…</p>;
  if (orders.length === 0) return <p class="empty">You have no open orders.</p>;
  return (
    <table class="list orders">
      <thead>
        <tr>
          <th scope="col">Time</th>
          <th scope="col">Market</th>
          <th scope="col">Side</th>
          <th scope="col">Type</th>
          <th scope="col" class="num">
            Price
          </th>
          <th scope="col" class="num">
            Size
          </th>
          <th scope="col" class="num">
            Filled
          </th>
          <th scope="col" class="num">
            Value
          </th>
          <th scope="col">
            <span class="visually-hidden">Action</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {orders.map((order) => (
          <OrderRow key={order.id} order={order} />
        ))}
      </tbody>
    </table>
  );
}

function OrderRow({ order }: { order: Order }) {
  const busy = useSignal(false);
  const [base = "", quote = ""] = order.product_id.split("-");
  const size = Decimal.from(order.size);
  const filled = size.isPositive()
    ? Decimal.from(order.filled_size).divFloor(size, 4).toApproximate() * 100
    : 0;
  const value = order.price ? size.mul(Decimal.from(order.price)) : Decimal.from(order.funds);

  const cancel = async (): Promise<void> => {
    busy.value = true;
    try {
      await api.cancel(order.id);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      notify("bad", "The order was not canceled", error.message);
    } finally {
      busy.value = false;
      refreshSoon();
    }
  };

  return (
    <tr data-order={order.id}>
      <td data-name="Time" class="muted">
        {shortTime(order.created_at)}
      </td>
      <td data-name="Market">{order.product_id}</td>
      <td data-name="Side" class={order.side === "buy" ? "up" : "down"}>
        {order.side === "buy" ? "▲ Buy" : "▼ Sell"}
      </td>
      <td data-name="Type" class="capital">
        {order.status === "active" ? `stop ${order.type}` : order.type}
        {order.post_only ? ", post only" : ""}
      </td>
      <td data-name="Price" class="num">
        {order.price ? grouped(order.price) : "–"}
      </td>
      <td data-name="Size" class="num">
        {order.size ? grouped(order.size) : "–"} <small>{base}</small>
      </td>
      <td data-name="Filled" class="num">
        {filled.toFixed(1)}%
      </td>
      <td data-name="Value" class="num">
        {grouped(value.scale > 2 && value.cmp(Decimal.ONE) >= 0 ? value.toFixed(2) : value.toString())}{" "}
        <small>{quote}</small>
      </td>
      <td class="action">
        <button
          type="button"
          class="cancel"
          aria-label={`Cancel the order to ${order.side} ${order.size ?? ""} ${base}`}
          disabled={busy.value}
          onClick={() => void cancel()}
        >
          <CloseIcon />
          Cancel
        </button>
      </td>
    </tr>
  );
}

function Fills() {
  const own = fills.value;
  if (!own) return <p class="empty">Loading…</p>;
  if (own.length === 0) return <p class="empty">You have not traded {product.value?.id} yet.</p>;
  return (
    <table class="list fills">
      <thead>
        <tr>
          <th scope="col">Time</th>
          <th scope="col">Market</th>
          <th scope="col">Side</th>
          <th scope="col">Role</th>
          <th scope="col" class="num">
            Price
          </th>
          <th scope="col" class="num">
            Size
          </th>
          <th scope="col" class="num">
            Fee
          </th>
        </tr>
      </thead>
      <tbody>
        {own.map((fill) => (
          <FillRow key={`${fill.trade_id}-${fill.order_id}`} fill={fill} />
        ))}
      </tbody>
    </table>
  );
}

function FillRow({ fill }: { fill: Fill }) {
  const [base = "", quote = ""] = fill.product_id.split("-");
  return (
    <tr data-fill={fill.trade_id}>
      <td data-name="Time" class="muted">
        {shortTime(fill.created_at)}
      </td>
      <td data-name="Market">{fill.product_id}</td>
      <td data-name="Side" class={fill.side === "buy" ? "up" : "down"}>
        {fill.side === "buy" ? "▲ Buy" : "▼ Sell"}
      </td>
      <td data-name="Role">{fill.liquidity === "M" ? "Maker" : "Taker"}</td>
      <td data-name="Price" class="num">
        {grouped(fill.price)}
      </td>
      <td data-name="Size" class="num">
        {grouped(fill.size)} <small>{base}</small>
      </td>
      <td data-name="Fee" class="num">
        {grouped(fill.fee)} <small>{quote}</small>
      </td>
    </tr>
  );
}
