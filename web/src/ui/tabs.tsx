import type { ComponentChildren } from "preact";

interface TabsProps<T extends string> {
  label: string;
  tabs: readonly { id: T; name: ComponentChildren }[];
  selected: T;
  onSelect: (id: T) => void;
  class?: string;
}

/** A row of tabs after the ARIA pattern: one tab stop, arrow keys move. The panel carries `panelId(id)`. */
export function Tabs<T extends string>({
  label,
  tabs,
  selected,
  onSelect,
  class: extra = "tabs",
}: TabsProps<T>) {
  const move = (event: KeyboardEvent): void => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = tabs.findIndex((tab) => tab.id === selected);
    const next = tabs[(at + step + tabs.length) % tabs.length];
    if (!next) return;
    onSelect(next.id);
    const row = event.currentTarget as HTMLElement;
    row.querySelector<HTMLElement>(`[data-tab="${next.id}"]`)?.focus();
  };
  return (
    <div class={extra} role="tablist" aria-label={label} onKeyDown={move}>
      {tabs.map((tab) => (
        <button
          key={tab.id}
          type="button"
          role="tab"
          data-tab={tab.id}
          aria-selected={tab.id === selected}
          tabIndex={tab.id === selected ? 0 : -1}
          onClick={() => onSelect(tab.id)}
        >
          {tab.name}
        </button>
      ))}
    </div>
  );
}
