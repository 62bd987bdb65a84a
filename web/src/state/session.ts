/** Who is signed in. The session outlives a reload; the server has the last word on whether it is still valid. */
import { computed, effect, signal } from "@preact/signals";
import { ApiError, api, useToken, whenExpired, whenUnauthorized } from "../api/http";
import type { Session, User } from "../api/types";
import { navigate } from "./route";
import { load, save } from "./storage";
import { notify } from "./toasts";

/** The demo account that was made here; kept so that its owner can sign in again. */
export interface DemoCredentials {
  email: string;
  /** The one that was made up here; null once its owner has chosen another, which is theirs to keep. */
  password: string | null;
}

export const session = signal<Session | null>(load<Session>("session"));
export const token = computed(() => session.value?.access_token ?? null);
/** Whose session it is. Unlike the token it stays as it is while the session is prolonged. */
export const userId = computed(() => session.value?.user.id ?? null);
/**
 * Counts the times that a user has left: what one has written is not for the next to see. Who has written something
 * and signs in then finds it again.
 */
export const departures = signal(0);
let lastUser = userId.peek();
effect(() => {
  const before = lastUser;
  lastUser = userId.value;
  if (before !== null && before !== lastUser) departures.value = departures.peek() + 1;
});
export const demoCredentials = signal<DemoCredentials | null>(load<DemoCredentials>("demo"));

/** The signed-in account is the demo account of this browser. */
export const isDemo = computed(
  () => session.value !== null && session.value.user.email === demoCredentials.value?.email,
);

/** The demo account that can be signed in to from here. */
export const demoToReturnTo = computed(() => {
  const { email, password } = demoCredentials.value ?? {};
  return email && password ? { email, password } : null;
});

/** Which form of the sign-in dialog is open. */
export const authDialog = signal<"sign-in" | "sign-up" | null>(null);

useToken(token.value, session.value?.user.id ?? null);
whenUnauthorized(() => {
  const present = session.peek();
  if (!present) return;
  const stored = load<Session>("session");
  if (stored && stored.access_token !== present.access_token) {
    follow();
    return;
  }
  enter(null);
  notify("plain", "You have been signed out", "Your session has ended. Sign in again to go on.");
});

/** A refresh token counts once, so one tab at a time uses it; the others take over what it got. */
async function prolong(old: string): Promise<boolean> {
  const present = session.peek();
  const stored = load<Session>("session");
  if (stored && stored.user.id !== present?.user.id) {
    // What one user asked must not be asked again in the name of another.
    follow();
    return false;
  }
  const latest = stored ?? present;
  if (latest && latest.access_token !== old) {
    take(latest);
    return true;
  }
  if (!latest?.refresh_token) return false;
  try {
    const next = await api.refresh(latest.refresh_token);
    // Whoever signed out or in meanwhile, here or in another tab, has the last word.
    if (session.peek()?.user.id !== latest.user.id) return false;
    enter(next);
    return true;
  } catch (error) {
    // Without an answer the session may live still, and the next request tries again.
    if (error instanceof ApiError && error.status !== 401) throw error;
    return false;
  }
}

let prolonging: Promise<boolean> | null = null;
whenExpired((old) => {
  const locked = () =>
    navigator.locks ? navigator.locks.request("session", () => prolong(old)) : prolong(old);
  prolonging ??= locked().finally(() => {
    prolonging = null;
  });
  return prolonging;
});

function enter(next: Session | null): void {
  save("session", next);
  take(next);
}

function take(next: Session | null): void {
  // The token goes first: whoever reacts to the new session already asks with it.
  useToken(next?.access_token ?? null, next?.user.id ?? null);
  session.value = next;
}

/** A browser has one session: takes over what another tab has stored. Saving it again would only echo. */
function follow(): void {
  const before = session.peek();
  const next = load<Session>("session");
  // A demo account of another tab is one of this browser too.
  demoCredentials.value = load<DemoCredentials>("demo");
  take(next);
  if (next && next.user.id !== before?.user.id) {
    notify("plain", `You are signed in as ${next.user.email} now`, "Somebody signed in in another tab.");
  } else if (before && !next) {
    notify("plain", "You have been signed out", "It was done in another tab.");
  }
}

addEventListener("storage", ({ key }) => {
  if (key === "agora.demo") demoCredentials.value = load<DemoCredentials>("demo");
  // Without a key everything was cleared.
  if (key === "agora.session" || key === null) follow();
});

export async function signIn(email: string, password: string, totp?: string): Promise<void> {
  enter(await api.signIn(email, password, totp));
}

/** The user has another name or picture now. */
export function renewUser(user: User): void {
  const present = session.peek();
  // The answer may be about somebody who has left meanwhile.
  if (present?.user.id !== user.id) return;
  const demo = demoCredentials.peek();
  if (isDemo.peek() && demo) keepDemo({ ...demo, email: user.email });
  enter({ ...present, user });
}

function keepDemo(demo: DemoCredentials): void {
  save("demo", demo);
  demoCredentials.value = demo;
}

/** The user has chosen another password: the one that was made up for a demo account counts no more. */
export function passwordChanged(): void {
  const demo = demoCredentials.peek();
  if (isDemo.peek() && demo) keepDemo({ ...demo, password: null });
}

/** The server has ended the session already; forgets it here. */
export function leave(): void {
  enter(null);
}

/** Somebody who came back from a provider and has to show a code yet. */
export const secondFactorTicket = signal<string | null>(null);
/** The demo account that has to show a code yet. */
export const demoAwaitingCode = signal<{ email: string; password: string } | null>(null);

export async function finishWithCode(ticket: string, totp: string): Promise<void> {
  enter(await api.secondFactor(ticket, totp));
  secondFactorTicket.value = null;
}

/** Where a way through a provider ends: marked, so that the session can be taken out of its cookies. */
export function providerAddress(provider: string): string {
  const back = `${location.pathname}?signed-in=${encodeURIComponent(provider)}`;
  return `/v1/auth/oidc/${encodeURIComponent(provider)}/start?back=${encodeURIComponent(back)}`;
}

const REASONS: Record<string, string> = {
  email_taken:
    "An account with that address exists already. Sign in to it and connect the provider in the settings.",
  identity_taken: "That identity belongs to another account already.",
  provider_flow: "The sign-in was not begun here, or took too long. Please begin again.",
  provider_refused: "The provider did not confirm who you are.",
  provider_unavailable: "The provider cannot be reached. Please try again later.",
  token_revoked: "Your session ended meanwhile. Please sign in and begin again.",
  sign_up_closed: "New accounts cannot be made at the moment.",
};

/** Takes up what a provider's page has left in the address. Call it once. */
export async function arrive(): Promise<void> {
  const query = new URLSearchParams(location.search);
  const error = query.get("error");
  const ticket = query.get("ticket");
  if (!query.has("signed-in") && !error) return;
  // Neither a reload nor the history should meet this again.
  history.replaceState(null, "", location.pathname);
  if (error === "second_factor_required" && ticket) {
    secondFactorTicket.value = ticket;
    authDialog.value = "sign-in";
    return;
  }
  if (error) {
    const reason = REASONS[error] ?? "Please try again.";
    if (!session.peek()) notify("bad", "You were not signed in", reason);
    else {
      // Who is signed in came to connect the provider, and is still who they were.
      navigate("/settings/security");
      notify("bad", "The account was not connected", reason);
    }
    return;
  }
  try {
    enter(await api.fromCookies());
  } catch (failure) {
    if (!(failure instanceof ApiError)) throw failure;
    notify("bad", "You were not signed in", failure.message);
  }
}

export async function signUp(email: string, password: string): Promise<void> {
  enter(await api.signUp(email, password));
}

/**
 * Makes a throw-away account with a random name and password and signs in to it. It takes the place of the one that was
 * made before: whoever calls this has asked.
 */
export async function startDemo(): Promise<void> {
  const credentials = { email: `demo-${randomText(10)}@example.org`, password: randomText(20) };
  const made = await api.signUp(credentials.email, credentials.password);
  keepDemo(credentials);
  enter(made);
}

/** Signs in to the demo account that was made here before. */
export async function returnToDemo(): Promise<void> {
  const demo = demoToReturnTo.peek();
  if (!demo) return;
  try {
    await signIn(demo.email, demo.password);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.code === "second_factor_required") {
      demoAwaitingCode.value = demo;
      authDialog.value = "sign-in";
      return;
    }
    // It is gone, or has another password: offering it again would lead nowhere.
    if (error.code === "wrong_credentials") keepDemo({ ...demo, password: null });
    throw error;
  }
}

/** How long signing out waits for the server, ms. */
const FAREWELL_MS = 4_000;

/** Somebody is being signed out. */
export const signingOut = signal(false);

/**
 * Ends the session, at the server first: its token may have to be renewed for that. Here it ends in any case, and if the
 * server could not be told, the user is.
 */
export async function signOut(): Promise<void> {
  const leaving = session.peek()?.user.id;
  if (leaving === undefined || signingOut.peek()) return;
  signingOut.value = true;
  let fault: string | null = null;
  try {
    await within(FAREWELL_MS, api.signOut());
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    // Refused, the session is over there already.
    if (error.status !== 401) fault = error.message;
  } finally {
    signingOut.value = false;
    // In another tab somebody else may have come meanwhile.
    if (session.peek()?.user.id === leaving) enter(null);
  }
  if (fault) {
    const still =
      "Your session there may go on until it ends by itself; you can end it under Settings, Sessions.";
    notify("bad", "You are signed out here, but the server could not be told", `${fault} ${still}`);
  }
}

/** The outcome, or a failure when it takes too long. */
async function within<T>(ms: number, outcome: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, fail) => {
    timer = setTimeout(() => fail(new ApiError(0, "The server does not answer.")), ms);
  });
  try {
    return await Promise.race([outcome, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks the server whether the session still holds; a refusal signs out. */
export async function verifySession(): Promise<void> {
  if (!session.value) return;
  try {
    renewUser(await api.me());
  } catch (error) {
    // Being offline ends no session: only a 401 does, and that was handled on the way here.
    if (!(error instanceof ApiError)) throw error;
  }
}

const ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789";

function randomText(length: number): string {
  const bytes = crypto.getRandomValues(new Uint8Array(length));
  return Array.from(bytes, (byte) => ALPHABET[byte % ALPHABET.length]).join("");
}
