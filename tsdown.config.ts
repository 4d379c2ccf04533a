import { globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { defineConfig } from 'tsdown'

/** The modules that are started as threads or processes of their own: each needs a file of its own. */
export const programs = globSync('src/**/*.ts').flatMap((importer) =>
  [...readFileSync(importer, 'utf8').matchAll(/siblingModule\('([\w-]+)'/g)].map(
    ([, name = '']) => {
      return [name, join(dirname(importer), `${name}.ts`)] as const
    },
  ),
)

/** Writes the licenses of the packages whose code is in the chunks: most ask for that. */
const licenses = {
  name: 'licenses',
  generateBundle(
    this: { emitFile(file: { type: 'asset'; fileName: string; source: string }): string },
    _options: unknown,
    bundle: Readonly<Record<string, { readonly moduleIds?: readonly string[] }>>,
  ) {
    const modules = Object.values(bundle).flatMap(({ moduleIds = [] }) => moduleIds)
    const folders = modules.flatMap((id) => {
      return /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id)?.[0] ?? []
    })
    const texts = [...new Set(folders)].sort().map((folder) => {
      const { name, version, license } = JSON.parse(readFileSync(`${folder}/package.json`, 'utf8'))
      const [file] = globSync(`${folder}/{LICENSE,LICENCE,license}*`)
      const text = file === undefined ? '' : `\n\n${readFileSync(file, 'utf8').trim()}`
      return `${name} ${version}, ${license}${text}\n`
    })
    if (texts.length === 0) return
    const source = texts.join('\n----------------------------------------\n\n')
    this.emitFile({ type: 'asset', fileName: 'licenses.txt', source })
  },
}

/** In place of compilers of JSON Schemas: all routes use zod, and a route that needed such a compiler would fail at the start. */
const NO_COMPILER = `module.exports = () => () => { throw new Error('this build has no compiler of JSON schemas') }`

/** Modules that are never used, by the packages that import them. */
const UNUSED: Readonly<Record<string, readonly (readonly [name: string, code: string])[]>> = {
  // The login with OAuth, and a validator that is not used, because there is another one.
  '@modelcontextprotocol': [
    ['jose', 'export {}'],
    [
      '@modelcontextprotocol/client/_shims',
      'export const CORS_IS_POSSIBLE = false; export class DefaultJsonSchemaValidator {}',
    ],
  ],
  fastify: [
    ['@fastify/ajv-compiler', NO_COMPILER],
    ['@fastify/fast-json-stringify-compiler', NO_COMPILER],
  ],
  // Only for files that are listed at the start.
  '@fastify/static': [['glob', 'module.exports = {}']],
}
const CODE = new Map(Object.values(UNUSED).flat())

const withoutUnused = {
  name: 'without-unused',
  resolveId: (id: string, importer = '') => {
    const isUnused = Object.entries(UNUSED).some(([name, modules]) => {
      return (
        importer.includes(`/node_modules/${name}/`) && modules.some(([unused]) => unused === id)
      )
    })
    return isUnused ? `\0unused:${id}` : null
  },
  load: (id: string) => CODE.get(id.replace(/^\0unused:/, '')) ?? null,
}

const LITERAL = /'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`/.source
/** Literals as the whole argument of `.describe`, or the name of a schema as that of `.meta`. */
const DESCRIPTION = new RegExp(
  String.raw`\.describe\(\s*(?:${LITERAL})(?:\s*\+\s*(?:${LITERAL}))*,?\s*\)|\.meta\(\{ id: '\w+' \}\)`,
  'g',
)

/** The descriptions and names of schemas are for the documents about the API. Without them, browsers load a smaller client. */
const withoutDescriptions = {
  name: 'without-descriptions',
  transform: (code: string, id: string) =>
    /\/src\/(api|domain)\//.test(id) ? code.replaceAll(DESCRIPTION, '') : null,
}

const common = { outDir: 'dist', format: 'esm', target: 'node24', hash: true } as const

/** What `npm run build` makes: the program, and the client with its types. */
export default defineConfig([
  {
    ...common,
    entry: { retrai: 'src/cli/retrai.ts', ...Object.fromEntries(programs) },
    platform: 'node',
    fixedExtension: false,
    dts: false,
    // The names of functions stay, so a stack shows them.
    minify: {
      compress: true,
      mangle: { toplevel: false, keepNames: { function: true, class: true } },
      codegen: { removeWhitespace: true },
    },
    // The packages of `devDependencies` are in the build. A start takes less time and memory with the parts of them that
    // are used than with all their files, and nobody installs them. The client needs these two as packages, too.
    deps: { onlyBundle: false, alwaysBundle: ['neverthrow', /^zod(\/|$)/] },
    plugins: [licenses, withoutUnused],
  },
  {
    ...common,
    entry: { client: 'src/client/index.ts' },
    platform: 'neutral',
    clean: false,
    dts: true,
    plugins: [withoutDescriptions],
  },
])
