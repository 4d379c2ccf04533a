import { readFileSync } from 'node:fs'
import { defineConfig, type Plugin } from 'vite'

process.env.NODE_ENV = 'production'

const WEB = `${import.meta.dirname}/../..`

/** Script and style are parts of a page: nothing in the script looks like markup, and the style is one line. */
const inPage: Plugin = {
  name: 'in-a-page',
  generateBundle(_options, bundle) {
    for (const file of Object.values(bundle)) {
      if (file.type !== 'chunk') continue
      // All line breaks that are left are in template literals.
      file.code = file.code
        .trim()
        .replace(/<(?=!--|\/?script)/gi, '\\x3c')
        .replace(/\n/g, '\\n')
    }
    const style = readFileSync(`${import.meta.dirname}/style.css`, 'utf8')
    const source = style.trim().replace(/\s*\n\s*/g, ' ')
    this.emitFile({ type: 'asset', fileName: 'evidence.css', source })
  },
}

/** Builds the script and the style of pages of evidence, which exports put into each page. */
export default defineConfig({
  root: import.meta.dirname,
  publicDir: false,
  plugins: [inPage],
  resolve: {
    alias: {
      'node:crypto': `${WEB}/src/verify/node-crypto.ts`,
      'node:zlib': `${import.meta.dirname}/node-zlib.ts`,
    },
  },
  build: {
    target: 'es2022',
    outDir: `${WEB}/dist`,
    emptyOutDir: false,
    license: { fileName: 'evidence-licenses.md' },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1500,
    rolldownOptions: {
      input: `${import.meta.dirname}/main.ts`,
      // Vite's own code for imports on demand asks for it, and this script has none.
      transform: { define: { 'import.meta': '{}' } },
      output: { format: 'iife', entryFileNames: 'evidence.js' },
    },
  },
})
