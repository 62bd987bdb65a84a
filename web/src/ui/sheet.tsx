/** The pieces that settings and administration are made of. */
import type { Signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Paged } from "../state/paging";
import { notify } from "../state/toasts";
import { CopyIcon } from "./icons";
import { Link } from "./link";

export interface SectionLink {
  id: string;
  name: string;
}

interface SheetProps {
  title: string;
  base: string;
  sections: readonly SectionLink[];
  selected: string;
  children: ComponentChildren;
}

/** A page with its parts in a column at the side; on a phone they are a row above. */
export function Sheet({ title, base, sections, selected, children }: SheetProps) {
  const links = useRef<HTMLDivElement>(null);
  useEffect(() => {
    links.current
      ?.querySelector('[aria-current="page"]')
      ?.scrollIntoView({ block: "nearest", inline: "center" });
  }, [selected]);
  return (
    <main class="sheet">
      <nav class="sheet-nav" aria-label={title}>
        <h1>{title}</h1>
        <div class="sheet-links" ref={links}>
          {sections.map((one) => (
            <Link key={one.id} to={`${base}/${one.id}`} current={one.id === selected}>
              {one.name}
            </Link>
          ))}
        </div>
      </nav>
      <div class="sheet-body">{children}</div>
    </main>
  );
}

interface CardProps {
  title: string;
  about?: ComponentChildren;
  end?: ComponentChildren;
  children?: ComponentChildren;
}

export function Card({ title, about, end, children }: CardProps) {
  return (
    <section class="card" aria-label={title}>
      <header class="card-head">
        <div>
          <h2>{title}</h2>
          {about && <p class="muted">{about}</p>}
        </div>
        {end && <div class="card-end">{end}</div>}
      </header>
      {children}
    </section>
  );
}

/** What there is to say before, or instead of, a list. */
export function Waiting({ error, empty }: { error: string | null; empty?: string }) {
  return (
    <p class={error ? "empty down" : "empty"} role={error ? "alert" : undefined}>
      {error ?? empty ?? "Loading…"}
    </p>
  );
}

/** Said beside what is shown when it could not be asked for anew: it may not be so any more. */
export function OutOfDate({ of }: { of: { data: Signal<unknown>; error: Signal<string | null> } }) {
  if (of.data.value === null || of.error.value === null) return null;
  return (
    <p class="stale" role="alert">
      Out of date: {of.error.value}
    </p>
  );
}

/** Gets the next page of a list, where there is one. */
export function ShowMore({ of, name = "Show more" }: { of: Paged<never, unknown>; name?: string }) {
  if (!of.more.value) return null;
  return (
    <button type="button" class="button block" aria-disabled={of.busy.value} onClick={() => void of.next()}>
      {of.busy.value ? "Loading…" : name}
    </button>
  );
}

export function FormError({ text }: { text: string | null }) {
  return (
    <p class="form-error" role="alert">
      {text}
    </p>
  );
}

interface SwitchProps {
  label: string;
  on: boolean;
  disabled?: boolean;
  /** Something is being done: a press counts for nothing, and the focus stays. */
  busy?: boolean;
  onChange: (on: boolean) => void;
}

export function Switch({ label, on, disabled, busy, onChange }: SwitchProps) {
  return (
    <button
      type="button"
      class="switch"
      role="switch"
      aria-checked={on}
      aria-label={label}
      disabled={disabled}
      aria-disabled={busy}
      onClick={() => {
        if (!busy) onChange(!on);
      }}
    >
      <i aria-hidden="true" />
    </button>
  );
}

/** A text to take along. */
export function Copyable({ name, value }: { name: string; value: string }) {
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(value);
      notify("plain", `${name} copied`);
    } catch {
      notify("plain", `${name} could not be copied`, "Select the text and copy it by hand.");
    }
  };
  return (
    <div class="copyable">
      <span>{name}</span>
      <code>{value}</code>
      <button
        type="button"
        class="icon-button"
        aria-label={`Copy the ${name.toLowerCase()}`}
        onClick={() => void copy()}
      >
        <CopyIcon />
      </button>
    </div>
  );
}
