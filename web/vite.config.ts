import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

const SERVER = process.env.RETRAI_URL ?? 'http://127.0.0.1:8000'

// Tests set this to something of their own, and would then test a build that nobody gets.
if (process.argv.includes('build')) process.env.NODE_ENV = 'production'

/** `npm run dev:web` serves the console by itself and passes the API on to a running server. */
export default defineConfig({
  root: import.meta.dirname,
  plugins: [react()],
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
  },
  server: {
    proxy: {
      '/api': { target: SERVER, ws: true, changeOrigin: true, headers: { origin: SERVER } },
    },
  },
})
