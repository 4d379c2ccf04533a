import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chown, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import type { Command } from '../../src/runner/command.ts'
import { isolatedEnvironment } from '../../src/sandbox/container-shell.ts'
import { isolated, temporaryFolder } from '../runner/support.ts'
import { isMissing } from '../support/missing.ts'

const execute = promisify(execFile)

async function write(folder: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true })
    await writeFile(join(folder, name), text)
  }
}

/** A project without a network, on a host whose user has this home. */
async function place(home: string, cwd: string) {
  const RUSTUP_HOME = process.env.RUSTUP_HOME ?? join(homedir(), '.rustup')
  const added = existsSync(RUSTUP_HOME) ? { RUSTUP_HOME } : {}
  const { bash } = await isolated('namespaces', {
    env: { PATH: process.env.PATH, HOME: home, ...added },
  })
  return (script: string, options: Partial<Command> = {}) =>
    bash(script, { cwd, timeoutMs: 120_000, env: added, ...options })
}

/** A module of Go in the cache of a home, as a download leaves it. */
async function goModule(home: string): Promise<void> {
  const source = await temporaryFolder()
  await write(source, {
    'go.mod': 'module example.com/greet\n\ngo 1.20\n',
    'greet.go': 'package greet\n\nconst Word = "hello"\n',
  })
  const at = join(home, 'go/pkg/mod/cache/download/example.com/greet/@v')
  await write(at, {
    'v1.0.0.info': '{"Version":"v1.0.0"}',
    'v1.0.0.mod': 'module example.com/greet\n\ngo 1.20\n',
  })
  const git = (...args: string[]) => execute('git', ['-C', source, ...args])
  await git('init', '-q')
  await git('add', '.')
  const { stdout } = await git('write-tree')
  const zip = [`--prefix=example.com/greet@v1.0.0/`, '-o', join(at, 'v1.0.0.zip')]
  await git('archive', '--format=zip', ...zip, stdout.trim())
}

/** Who owns the project: another user than the one whose home has the caches, if there can be one. */
const OWNER = process.getuid?.() === 0 ? 1500 : null

describe.skipIf(isMissing('bwrap') || isMissing('go') || isMissing('git'))('Go', () => {
  test('finds modules of the host without a network', async () => {
    const home = await temporaryFolder()
    const project = await temporaryFolder()
    await goModule(home)
    await write(project, {
      'go.mod': 'module example.com/project\n\ngo 1.20\n\nrequire example.com/greet v1.0.0\n',
      'main.go':
        'package main\n\nimport "example.com/greet"\n\nfunc main() { println(greet.Word) }\n',
    })
    if (OWNER !== null) await chown(project, OWNER, OWNER)
    const bash = await place(home, project)
    // Nobody outside of this test knows the sum.
    const download = 'GONOSUMDB=* GOFLAGS="$GOFLAGS -mod=mod" go mod download example.com/greet'
    const look = 'go list -deps . | grep example; go env GOMODCACHE GOPROXY'
    const result = await bash(`${download} && ${look}`, { run: 'run' })
    expect(result.output).toBe(
      ['example.com/greet', 'example.com/project', '/home/agent/go/pkg/mod'].join('\n') +
        `\nfile://${home}/go/pkg/mod/cache/download|https://proxy.golang.org,direct\n`,
    )
    // A home with modules can be removed, also by a user who is not root.
    const writable = 'test -w ~/go/pkg/mod/example.com/greet@v1.0.0 && echo writable'
    expect(await bash(writable, { run: 'run' })).toMatchObject({ stdout: 'writable\n' })
    expect(await readdir(join(home, 'go/pkg/mod'))).toEqual(['cache'])
  })
})

test('a cache of Go that commands cannot see is not set, and proxies and flags of the user stay', () => {
  const at = { home: '/home/agent', tmp: '/tmp', tools: [], network: 'none' } as const
  const own = { GOMODCACHE: '/nowhere', GOPROXY: 'https://proxy.example', GOFLAGS: '-trimpath' }
  const env = isolatedEnvironment(own, at)
  expect(env).toMatchObject({ GOPROXY: 'https://proxy.example', GOFLAGS: '-trimpath -modcacherw' })
  expect(env).not.toHaveProperty('GOMODCACHE')
})

/** Lets the real Cargo download a crate into a home, from a registry that is gone afterwards. */
async function cargoCrate(home: string, project: string): Promise<void> {
  const source = await temporaryFolder()
  await write(source, {
    'greet-1.0.0/Cargo.toml': '[package]\nname = "greet"\nversion = "1.0.0"\nedition = "2021"\n',
    'greet-1.0.0/src/lib.rs': 'pub const WORD: &str = "hello";\n',
  })
  await execute('tar', ['-czf', 'greet.crate', 'greet-1.0.0'], { cwd: source })
  const crate = await readFile(join(source, 'greet.crate'))
  const cksum = createHash('sha256').update(crate).digest('hex')
  const version = { name: 'greet', vers: '1.0.0', deps: [], cksum, features: {}, yanked: false }
  let host = ''
  const server = createServer(({ url }, response) => {
    const files: Readonly<Record<string, string | Buffer>> = {
      '/config.json': JSON.stringify({ dl: `${host}/{crate}` }),
      '/gr/ee/greet': `${JSON.stringify(version)}\n`,
      '/greet': crate,
    }
    const file = files[url ?? '']
    response.writeHead(file === undefined ? 404 : 200).end(file)
  })
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready))
  const address = server.address()
  host = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
  await write(project, {
    'Cargo.toml':
      '[package]\nname = "project"\nversion = "0.1.0"\nedition = "2021"\n\n[dependencies]\ngreet = { version = "1", registry = "own" }\n',
    'src/main.rs': 'fn main() { println!("{}", greet::WORD) }\n',
    '.cargo/config.toml': `[registries.own]\nindex = "sparse+${host}/"\n`,
  })
  const env = { ...process.env, CARGO_HOME: join(home, '.cargo') }
  await execute('cargo', ['fetch'], { cwd: project, env })
  await new Promise((closed) => {
    server.close(closed)
    server.closeAllConnections()
  })
}

describe.skipIf(isMissing('bwrap') || isMissing('cargo'))('Cargo', () => {
  test('finds crates of the host without a network', async () => {
    const home = await temporaryFolder()
    const project = await temporaryFolder()
    await cargoCrate(home, project)
    if (OWNER !== null) await execute('chown', ['-R', `${OWNER}:${OWNER}`, project])
    const bash = await place(home, project)
    const script = 'cargo run --offline -q && echo >>$(echo $CARGO_HOME/registry/cache/*/*.crate)'
    expect(await bash(script)).toMatchObject({
      stdout: 'hello\n',
      stderr: expect.stringMatching(/Read-only file system|Permission denied/),
    })
  })
})
