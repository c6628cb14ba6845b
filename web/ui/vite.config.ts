import { svelte } from '@sveltejs/vite-plugin-svelte';
import { request } from 'node:http';
import { defineConfig, type Plugin } from 'vite';

// While one works on the page, `npm run dev` hands requests of the API on to a running
// server: TELLTALE_SOCKET=/path/to/telltale.sock npm run dev
function toServer(socketPath: string): Plugin {
  return {
    name: 'telltale-socket',
    configureServer(server) {
      server.middlewares.use('/api/', (req, res) => {
        const out = request({ socketPath, path: '/api' + req.url, method: req.method, headers: { ...req.headers, host: 'localhost' } }, (reply) => {
          res.writeHead(reply.statusCode ?? 502, reply.headers);
          reply.pipe(res);
        });
        out.on('error', (e) => { res.statusCode = 502; res.end(e.message); });
        req.pipe(out);
      });
    },
  };
}

const socket = process.env.TELLTALE_SOCKET;

export default defineConfig({
  base: './', // the console may be behind any path
  plugins: [svelte(), ...(socket ? [toServer(socket)] : [])],
  build: {
    target: 'es2022',
    modulePreload: false,
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    reportCompressedSize: false,
    rollupOptions: { output: { entryFileNames: 'assets/[hash].js', chunkFileNames: 'assets/[hash].js', assetFileNames: 'assets/[hash][extname]' } },
  },
});
