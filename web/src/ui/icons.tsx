/** The few drawings of the app. All are decoration: whoever uses one names the control. */
import type { ComponentChildren } from "preact";

/** The mark: a market hall whose columns are candles. */
export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
      <path
        d="M4 12.4 16 5l12 7.4"
        fill="none"
        stroke="currentColor"
        stroke-width="2.8"
        stroke-linecap="round"
        stroke-linejoin="round"
      />
      <g fill="currentColor">
        <rect x="6.6" y="16" width="4.2" height="8.5" rx="1.3" />
        <rect x="13.9" y="13.6" width="4.2" height="10.4" rx="1.3" />
        <rect x="21.2" y="17.4" width="4.2" height="6" rx="1.3" />
      </g>
      <path
        d="M8.7 14.4v12.8M16 11.8v15.4M23.3 15.6v11.6"
        stroke="currentColor"
        stroke-width="1.4"
        stroke-linecap="round"
      />
    </svg>
  );
}

function Icon({ children }: { children: ComponentChildren }) {
  return (
    <svg
      class="icon"
      viewBox="0 0 20 20"
      fill="none"
      stroke="currentColor"
      stroke-width="1.7"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      {children}
    </svg>
  );
}

export const ChevronIcon = () => (
  <Icon>
    <path d="m5.5 8 4.5 4.5L14.5 8" />
  </Icon>
);

export const CloseIcon = () => (
  <Icon>
    <path d="m5 5 10 10M15 5 5 15" />
  </Icon>
);

export const MoonIcon = () => (
  <Icon>
    <path d="M16.5 11.6A6.8 6.8 0 0 1 8.4 3.5a6.8 6.8 0 1 0 8.1 8.1Z" />
  </Icon>
);

export const SunIcon = () => (
  <Icon>
    <circle cx="10" cy="10" r="3.4" />
    <path d="M10 2v1.6M10 16.4V18M18 10h-1.6M3.6 10H2M15.7 4.3l-1.2 1.2M5.5 14.5l-1.2 1.2M15.7 15.7l-1.2-1.2M5.5 5.5 4.3 4.3" />
  </Icon>
);

export const UserIcon = () => (
  <Icon>
    <circle cx="10" cy="7" r="3.2" />
    <path d="M3.8 17c.6-3.2 3-4.8 6.2-4.8s5.6 1.6 6.2 4.8" />
  </Icon>
);

export const CopyIcon = () => (
  <Icon>
    <rect x="7" y="7" width="9.5" height="9.5" rx="2" />
    <path d="M13 4.6A1.9 1.9 0 0 0 11.4 3.5H5.5a2 2 0 0 0-2 2v5.9c0 .8.4 1.4 1.1 1.7" />
  </Icon>
);
