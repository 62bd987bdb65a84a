/**
 * The WebSocket feed: one connection that heals itself.
 *
 * Owns what should be subscribed and sends it whenever a connection opens, so that every (re)connection begins with
 * fresh snapshots. A line that is silent for longer than the heartbeats allow is taken for dead.
 */
import { signal } from "@preact/signals";
import type { FeedMessage } from "../api/types";

export type FeedStatus = "connecting" | "live" | "reconnecting";

/** What the connection should deliver. */
export interface Wanted {
  /** Products whose ticker is shown (the market list). */
  tickers: string[];
  /** The product whose book and trades are shown. */
  product: string | null;
  /** The signed-in user, whose own events are wanted. */
  user: string | null;
  /** The user's access token. A connection shows one and is good for as long as its session, whatever comes after it. */
  token: string | null;
}

interface Handlers {
  /** A new connection is open: whatever was missed must be fetched again. `again` is false for the first one. */
  opened(again: boolean): void;
  message(message: FeedMessage): void;
}

const SILENCE_MS = 6_000;
const MAX_DELAY_MS = 15_000;
const MARKET_CHANNELS = ["level2", "matches", "heartbeat"];

/** Whether the server did not accept the token that it was shown. */
export function isRefusal(message: FeedMessage): boolean {
  return message.type === "error" && message.message === "Authentication Failed";
}

export class FeedConnection {
  readonly status = signal<FeedStatus>("connecting");

  private socket: WebSocket | null = null;
  private wanted: Wanted = { tickers: [], product: null, user: null, token: null };
  /** The token that was shown last on this connection, and whether it was refused: its time may have been over. */
  private shown: string | null = null;
  private refused = false;
  private attempts = 0;
  private everOpened = false;
  private lastHeard = 0;
  private retry: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly url: string,
    private readonly handlers: Handlers,
  ) {
    setInterval(() => this.watch(), 1_000);
    window.addEventListener("online", () => this.reconnectNow());
  }

  /** Changes what is delivered; sends only the difference where the connection allows it. */
  want(next: Wanted): void {
    const before = this.wanted;
    this.wanted = next;
    const socket = this.socket;
    if (!socket) {
      this.connect();
      return;
    }
    if (socket.readyState !== WebSocket.OPEN) return;
    // A connection belongs to its user for good, so another user needs another connection.
    if (before.user && before.user !== next.user) {
      this.reconnectNow();
      return;
    }
    if (before.product && before.product !== next.product) {
      this.send({ type: "unsubscribe", product_ids: [before.product], channels: MARKET_CHANNELS });
    }
    this.subscribe(before);
    this.showAnother();
  }

  /** Asks for the present product's book again, after a gap was noticed. */
  resnapshot(): void {
    const product = this.wanted.product;
    if (!product) return;
    this.send({ type: "unsubscribe", product_ids: [product], channels: ["level2"] });
    this.send({ type: "subscribe", product_ids: [product], channels: ["level2"] });
  }

  private subscribe(before: Wanted | null): void {
    const { product, tickers, user } = this.wanted;
    if (product && product !== before?.product) {
      this.send({ type: "subscribe", product_ids: [product], channels: MARKET_CHANNELS });
    }
    const sameTickers = before?.tickers.join() === tickers.join();
    if (tickers.length > 0 && !sameTickers) {
      this.send({ type: "subscribe", product_ids: tickers, channels: ["ticker"] });
    }
    if (user !== before?.user || !sameTickers) this.showToken();
  }

  /** Subscribes to the user's own events. */
  private showToken(): void {
    const { tickers, token } = this.wanted;
    if (!token || tickers.length === 0) return;
    this.shown = token;
    this.refused = false;
    this.send({ type: "subscribe", product_ids: tickers, channels: ["user"], token });
  }

  /** After a refusal, once there is another token. */
  private showAnother(): void {
    if (this.refused && this.wanted.token !== this.shown) this.showToken();
  }

  private send(message: unknown): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  private connect(): void {
    clearTimeout(this.retry);
    const socket = new WebSocket(this.url);
    this.socket = socket;
    this.lastHeard = Date.now();
    socket.onopen = () => {
      if (this.socket !== socket) return;
      this.lastHeard = Date.now();
      this.send({ type: "subscribe", channels: ["status"] });
      this.subscribe(null);
      this.handlers.opened(this.everOpened);
      this.everOpened = true;
    };
    socket.onmessage = (event) => {
      if (this.socket !== socket) return;
      this.lastHeard = Date.now();
      this.attempts = 0;
      this.status.value = "live";
      const message = JSON.parse(event.data as string) as FeedMessage;
      if (isRefusal(message)) {
        this.refused = true;
        this.showAnother();
      }
      this.handlers.message(message);
    };
    socket.onclose = () => {
      if (this.socket === socket) this.later();
    };
  }

  private later(): void {
    this.socket = null;
    this.status.value = "reconnecting";
    const ceiling = Math.min(MAX_DELAY_MS, 400 * 2 ** this.attempts);
    this.attempts += 1;
    // Half fixed, half random: clients of a restarted server must not all come back in the same moment.
    const delay = ceiling / 2 + Math.random() * (ceiling / 2);
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.connect(), delay);
  }

  private reconnectNow(): void {
    const old = this.socket;
    this.socket = null;
    old?.close();
    this.status.value = this.everOpened ? "reconnecting" : "connecting";
    this.connect();
  }

  private watch(): void {
    const socket = this.socket;
    if (!socket || socket.readyState === WebSocket.CLOSED) return;
    const expectsHeartbeats = this.wanted.product !== null;
    if (expectsHeartbeats && Date.now() - this.lastHeard > SILENCE_MS) {
      this.socket = null;
      socket.close();
      this.later();
    }
  }
}
