// What was done, told at the foot of the page for a time, with a way to undo it.

export interface Told { id: number; text: string; wrong?: boolean; undo?: () => Promise<void> }

export const told = $state<{ all: Told[] }>({ all: [] });
let next = 1;

export function tell(text: string, more: { wrong?: boolean; undo?: () => Promise<void> } = {}): void {
  const id = next++;
  told.all = [...told.all.slice(-3), { id, text, ...more }];
  setTimeout(() => drop(id), more.wrong || more.undo ? 60_000 : 8000);
}

export function drop(id: number): void { told.all = told.all.filter((one) => one.id !== id); }

/** forget drops all: who comes next may not undo what another did. */
export function forget(): void { told.all = []; }
