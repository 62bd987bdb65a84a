import type { ComponentChildren } from "preact";
import { navigate } from "../state/route";

interface LinkProps {
  to: string;
  class?: string;
  current?: boolean;
  onGone?: () => void;
  children: ComponentChildren;
}

/** A link to another page of the app: a real address, without a reload. */
export function Link({ to, class: extra, current, onGone, children }: LinkProps) {
  return (
    <a
      href={to}
      class={extra}
      aria-current={current ? "page" : undefined}
      onClick={(event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey) return;
        event.preventDefault();
        navigate(to);
        onGone?.();
      }}
    >
      {children}
    </a>
  );
}
