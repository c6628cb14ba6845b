import type { Component } from 'svelte';
import type { Status } from './lib/api';
import { t } from './lib/i18n.svelte';
import { visible } from './lib/text';
import About from './pages/About.svelte';
import Account from './pages/Account.svelte';
import Accounts from './pages/Accounts.svelte';
import Devices from './pages/Devices.svelte';
import Doctor from './pages/Doctor.svelte';
import Evidence from './pages/Evidence.svelte';
import Experiments from './pages/Experiments.svelte';
import Lists from './pages/Lists.svelte';
import Log from './pages/Log.svelte';
import Names from './pages/Names.svelte';
import Overview from './pages/Overview.svelte';
import OwnNames from './pages/OwnNames.svelte';
import OwnOverview from './pages/OwnOverview.svelte';
import OwnVendors from './pages/OwnVendors.svelte';
import Settings from './pages/Settings.svelte';
import Vendors from './pages/Vendors.svelte';

// Each page: its first path part, the key after 'g' that leads to it, and what shows it; own is
// what shows it to who may see some devices alone, where that is another.

export interface Page { path: string; key: string; component: Shown; own?: Shown }
type Shown = Component<{ rest: string[]; status: Status | undefined }> | Component<Record<string, never>>;

export const pages: Page[] = [
  { path: '', key: 'o', component: Overview, own: OwnOverview },
  { path: 'log', key: 'l', component: Log },
  { path: 'devices', key: 'd', component: Devices },
  { path: 'vendors', key: 'v', component: Vendors, own: OwnVendors },
  { path: 'names', key: 'n', component: Names, own: OwnNames },
  { path: 'lists', key: 'i', component: Lists },
  { path: 'experiments', key: 'x', component: Experiments },
  { path: 'evidence', key: 'e', component: Evidence },
  { path: 'doctor', key: 'h', component: Doctor },
  { path: 'settings', key: 's', component: Settings },
  { path: 'accounts', key: 'u', component: Accounts },
  { path: 'account', key: 'm', component: Account },
  { path: 'about', key: 'a', component: About },
];

export function titleOf(page: Page, rest: string[]): string {
  const own = t(`page.${page.path || 'overview'}`);
  return rest[0] ? `${visible(rest[0])} · ${own}` : own;
}
