import { execFile } from 'node:child_process'
import { globSync } from 'node:fs'
import {
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'vite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startScriptedModel } from '../../examples/scripted-model/server.ts'
import { cleanEnv, type Finished, Running } from '../cli/support.ts'
import { startStandIn } from '../support/eventstore-stand-in/index.ts'

const CHECKOUT = fileURLToPath(new URL('../../', import.meta.url))
const NODE = process.execPath
/** For the npm of the machine, with the Node that runs the tests. */
const env = { ...cleanEnv(), npm_config_audit: 'false', npm_config_fund: 'false' }

/** Runs a program to its end in a folder; resolves to its output, with any exit code. */
function run(cwd: string, file: string, ...args: string[]): Promise<Finished> {
  return new Promise((resolve) => {
    execFile(file, args, { cwd, env, maxBuffer: 1e8 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr })
    })
  })
}

async function must(cwd: string, file: string, ...args: string[]): Promise<Finished> {
  const finished = await run(cwd, file, ...args)
  if (finished.code !== 0) {
    throw new Error(`${file} ${args.join(' ')}\n${finished.stdout}\n${finished.stderr}`)
  }
  return finished
}

describe('the package, installed into an empty folder', () => {
  let folder: string
  let copy: string
  let tarball: string
  let installed: Finished

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'retrai-package-'))
    // What other tests use of the checkout is not built again under them.
    copy = await mkdtemp(join(tmpdir(), 'retrai-checkout-'))
    const isSource = (path: string) => !/\/(\.git|dist|node_modules|test)$/.test(path)
    await cp(CHECKOUT, copy, { recursive: true, filter: isSource })
    await symlink(join(CHECKOUT, 'node_modules'), join(copy, 'node_modules'))
    await must(copy, 'npm', 'pack', '--silent', '--pack-destination', folder)
    const [name = ''] = (await readdir(folder)).filter((file) => file.endsWith('.tgz'))
    tarball = join(folder, name)
    await writeFile(join(folder, 'package.json'), '{"private": true, "type": "module"}')
    installed = await must(folder, 'npm', 'install', '--prefer-offline', tarball)
  })
  /** Starts the installed server on a free port. */
  async function serve(dataDir: string, settings: object) {
    const command = [NODE, join(folder, 'node_modules/.bin/retrai')]
    const line = [...command, 'serve', '--port', '0', '--data-dir', dataDir]
    const server = new Running(line, { ...env, ...settings })
    const [, url = ''] = await server.prints(/ready at (http:\S+?)["\s]/)
    return { command, server, url }
  }
  afterAll(async () => {
    for (const made of [folder, copy]) await rm(made, { recursive: true, force: true })
  })

  test('contains only what was built, in less than 2.7 MB', async () => {
    const root = join(folder, 'node_modules/retrai')
    const names = ['LICENSE', 'README.md', 'bin', 'dist', 'package.json', 'web']
    expect((await readdir(root)).sort()).toEqual(names)
    expect((await stat(tarball)).size).toBeLessThan(2.7e6)
  })

  test('contains each module that is started as a separate program', async () => {
    const built = await readdir(join(folder, 'node_modules/retrai/dist'))
    for (const path of globSync('src/**/*.ts', { cwd: CHECKOUT })) {
      const source = await readFile(join(CHECKOUT, path), 'utf8')
      expect(source, `${path} starts a module without siblingModule`).not.toMatch(
        /(new URL|import\.meta\.resolve)\(\s*'[^']*\.ts'/,
      )
      for (const [, name] of source.matchAll(/siblingModule\('([\w-]+)'/g)) {
        expect(built).toContain(`${name}.js`)
      }
    }
  })

  test('is installed without a warning', () => {
    expect(installed.stderr.split('\n').filter((line) => /npm (warn|error)/.test(line))).toEqual([])
  })

  test('depends on no package that its build contains, except the two that the client needs', async () => {
    const root = join(folder, 'node_modules/retrai')
    const { dependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
    const licenses = await readFile(join(root, 'dist/licenses.txt'), 'utf8')
    const built = [...licenses.matchAll(/^(\S+) \d+\.\d+\.\d+\S*, /gm)].map(([, name]) => name)
    expect(built).toEqual(expect.arrayContaining(['fastify', '@eventstore/db-client']))
    const twice = Object.keys(dependencies).filter((name) => built.includes(name))
    expect(twice).toEqual(['neverthrow', 'zod'])
  })

  test('runs the server, its console, and an agent that searches files, and contains the client of EventStoreDB', async () => {
    const project = join(folder, 'project')
    await mkdir(project)
    await writeFile(join(project, 'needle.txt'), 'found')
    await writeFile(join(project, '.retrai.yml'), 'check_command: test -e done\n')
    const model = await startScriptedModel({
      script: [
        { calls: [{ tool: 'find_files', args: { pattern: '*.txt' } }] },
        { calls: [{ tool: 'file_write', args: { path: 'done', content: '' } }] },
      ],
    })
    const data = join(folder, 'data')
    const { command, server, url } = await serve(data, { RETRAI_LLM_BASE_URL: model.url })
    try {
      const page = await fetch(url)
      expect([page.status, page.headers.get('content-type')]).toEqual([
        200,
        'text/html; charset=utf-8',
      ])
      const asset = /src="(\/assets\/[^"]+)"/.exec(await page.text())?.[1] ?? ''
      expect((await fetch(new URL(asset, url))).status).toBe(200)
      expect((await fetch(new URL('/docs', url))).status).toBe(200)
      const run = new Running(
        [...command, 'run', 'shell-goal', '--cwd', project, '--server', url],
        env,
      )
      expect([await run.exit, run.stdout]).toEqual([0, expect.stringContaining('needle.txt')])
      expect((await fetch(new URL('/api/runs', url))).status).toBe(200)
    } finally {
      server.child.kill('SIGTERM')
      await server.exit
      await model.close()
    }
    const verified = await run(folder, NODE, ...command.slice(1), 'verify', '--data-dir', data)
    expect(verified).toMatchObject({ code: 0 })
    const standIn = await startStandIn()
    const copy = ['copy', '--from', data, '--to', standIn.connectionString]
    await must(folder, NODE, ...command.slice(1), ...copy)
    await standIn.stop()
    expect(standIn.log.all.map(({ type }) => type)).toContain('run_end')
  })

  test('gives Node a client', async () => {
    const program = "import('retrai/client').then((m) => console.log(typeof m.createClient))"
    expect((await must(folder, NODE, '-e', program)).stdout.trim()).toBe('function')
  })

  test('gives TypeScript a client whose payloads narrow by kind', async () => {
    await writeFile(
      join(folder, 'program.ts'),
      `import { createClient } from 'retrai/client'
const client = createClient({ baseUrl: 'http://127.0.0.1:8000' })
for await (const event of client.watch('550e8400-e29b-41d4-a716-446655440000')) {
  if (event.kind === 'goal_check') {
    const achieved: boolean = event.payload.achieved
    console.log(achieved)
  }
  // @ts-expect-error no event has a payload of this kind
  event.payload.nonsense
}
`,
    )
    const tsc = join(CHECKOUT, 'node_modules/typescript/bin/tsc')
    const options = ['--strict', '--noEmit', '--target', 'es2022', '--lib', 'es2024,dom']
    options.push('--module', 'nodenext')
    const checked = await run(folder, NODE, tsc, ...options, 'program.ts')
    expect(checked).toMatchObject({ code: 0, stdout: '' })
  })

  test('gives browsers a client smaller than 52 KB', async () => {
    const entry = join(folder, 'browser.js')
    await writeFile(entry, "export { createClient } from 'retrai/client'\n")
    const outDir = join(folder, 'bundle')
    await build({
      root: folder,
      logLevel: 'silent',
      configFile: false,
      build: { outDir, lib: { entry, formats: ['es'], fileName: 'bundle' }, minify: true },
    })
    const [name = ''] = await readdir(outDir)
    const bundle = await readFile(join(outDir, name))
    expect(gzipSync(bundle).length).toBeLessThan(52 * 1024)
    expect(bundle.toString()).not.toMatch(/from ?["']node:/)
  })

  test('names in one line the version of Node that it needs', async () => {
    const program = pathToFileURL(join(folder, 'node_modules/retrai/bin/retrai.js')).href
    const asOld = `const versions = { ...process.versions, node: '20.19.0' }
      Object.defineProperty(process, 'versions', { value: versions })
      import(${JSON.stringify(program)})`
    expect(await run(folder, NODE, '-e', asOld)).toEqual({
      code: 1,
      stdout: '',
      stderr: 'retrai needs Node 24 or newer; this is Node 20.19.0.\n',
    })
  })
})
