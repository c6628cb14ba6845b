// Notices say at the foot of the page for a time what was done, with a way to undo it.

export interface Notice { id: number; text: string; wrong?: boolean; undo?: () => Promise<void> }

export const notices = $state<{ all: Notice[] }>({ all: [] });
let next = 1;

export function notify(text: string, more: { wrong?: boolean; undo?: () => Promise<void> } = {}): void {
  const id = next++;
  notices.all = [...notices.all.slice(-3), { id, text, ...more }];
  setTimeout(() => dismiss(id), more.wrong || more.undo ? 60_000 : 8000);
}

export function dismiss(id: number): void { notices.all = notices.all.filter((one) => one.id !== id); }

/** dismissAll drops all: who comes next may not undo what another did. */
export function dismissAll(): void { notices.all = []; }
