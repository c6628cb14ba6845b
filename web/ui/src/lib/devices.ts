import { get, type Device, type Schemas } from './api';
import { session } from './session.svelte';

/** getDevices returns the devices that who is here may see. */
export async function getDevices(signal?: AbortSignal): Promise<Device[]> {
  if (!session.limited) return (await get<Device[] | null>('devices', {}, signal)) ?? [];
  const all: Device[] = [];
  for (const id of session.now.devices ?? []) all.push((await getDevice(id, signal)).device); // one after the other: two answers that read the log are given at once
  return all;
}

/** getDevice returns what is known of a device, and what people said of it. */
export function getDevice(id: string, signal?: AbortSignal): Promise<Pick<Schemas['History'], 'device' | 'corrections'>> {
  return session.limited ? get<Schemas['DeviceStory']>(`devices/${encodeURIComponent(id)}`, { from: '1h' }, signal) : get<Schemas['History']>('devices/history', { device: id }, signal);
}
