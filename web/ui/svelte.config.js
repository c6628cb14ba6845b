import { vitePreprocess } from '@sveltejs/vite-plugin-svelte';

// Trusted types and the policy of the server forbid HTML made of text: {@html} is an error.
export default {
  preprocess: vitePreprocess({ script: true, style: false }),
  compilerOptions: { runes: true, discloseVersion: false },
};
