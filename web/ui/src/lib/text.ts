// Names, addresses and annotations come from devices, vendors and files of strangers.

const unseen = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;

/** visible writes characters that are not seen, or turn the direction of others, as their numbers. */
export function visible(text: string): string {
  return text.replace(unseen, (c) => '\\u{' + (c.codePointAt(0) ?? 0).toString(16) + '}');
}

/** webAddress returns text if it is the address of a page on the web, which may be a link. */
export function webAddress(text: string): string | undefined {
  try {
    const url = new URL(text);
    return url.protocol === 'https:' || url.protocol === 'http:' ? url.href : undefined;
  } catch { return undefined; }
}
