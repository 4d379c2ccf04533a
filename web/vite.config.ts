import { brotliCompressSync } from 'node:zlib'
import react from '@vitejs/plugin-react'
import { defineConfig, type Plugin } from 'vite'

const SERVER = process.env.RETRAI_URL ?? 'http://127.0.0.1:8000'

// Tests set this to something of their own, and would then test a build that nobody gets.
if (process.argv.includes('build')) process.env.NODE_ENV = 'production'

/** Writes a compressed copy beside each text, which the server sends to browsers that accept it. */
const compressed: Plugin = {
  name: 'compressed',
  generateBundle: {
    order: 'post',
    handler(_options, bundle) {
      for (const [name, file] of Object.entries(bundle)) {
        const text = file.type === 'chunk' ? file.code : file.source
        if (!/^assets\/.*\.(js|css|svg)$/.test(name)) continue
        this.emitFile({ type: 'asset', fileName: `${name}.br`, source: brotliCompressSync(text) })
      }
    },
  },
}

/** A small script of its own, which does not wait for the others and for the styles. */
const early: Plugin = {
  name: 'early',
  transformIndexHtml: {
    order: 'post',
    handler(_html, { bundle = {} }) {
      return Object.values(bundle)
        .filter(({ name }) => name === 'early')
        .map(({ fileName }) => ({
          tag: 'script',
          attrs: { type: 'module', async: true, crossorigin: true, src: `/${fileName}` },
          injectTo: 'head-prepend',
        }))
    },
  },
}

/** `npm run dev:web` serves the console by itself and passes the API on to a running server. */
export default defineConfig({
  root: import.meta.dirname,
  plugins: [react(), compressed, early],
  // The server's own code verifies records here too; see there for what replaces Node's module.
  resolve: { alias: { 'node:crypto': `${import.meta.dirname}/src/verify/node-crypto.ts` } },
  worker: { format: 'es' },
  build: {
    target: 'es2022',
    // Every asset is a file of its own, since the policy of the page allows no data: scripts or fonts.
    assetsInlineLimit: 0,
    license: { fileName: 'licenses.md' },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1500,
    rolldownOptions: { input: ['web/index.html', 'web/src/api/early.ts'] },
  },
  server: {
    proxy: {
      '/api': { target: SERVER, ws: true, changeOrigin: true, headers: { origin: SERVER } },
    },
  },
})
