import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { INLINE_BYTES } from '../../../src/agent/tools/recorded-output.ts'
import { guardSecrets } from '../../../src/masking/process-mask.ts'
import { FAKES, pem } from '../../masking/fakes.ts'
import { projectWith } from './support.ts'

const OWN = 'q8Zr-own-key-of-the-server'
guardSecrets([{ name: 'OPENAI_API_KEY', value: OWN }])
const [token = ''] = FAKES['github-token'] ?? []
const [jwt = ''] = FAKES.jwt ?? []
const MASKED = '[masked:github-token]'

describe('the result of a tool', () => {
  test('holds no secret, although the file does', async () => {
    const { run } = await projectWith({ '.env': `TOKEN=${token}\nKEY=${OWN}\n` })
    const shown = `TOKEN=${MASKED}\nKEY=[masked:OPENAI_API_KEY]\n`
    const read = `1\tTOKEN=${MASKED}\n2\tKEY=[masked:OPENAI_API_KEY]`
    expect(await run('file_read', { path: '.env' })).toMatchObject({
      output: read,
      bytes: read.length,
      truncated: false,
    })
    expect((await run('bash_exec', { command: 'cat .env; cat .env >&2' })).output).toBe(
      shown + shown,
    )
    const found = await run('grep_search', { pattern: 'TOKEN', hidden: true })
    expect(found.output).toBe(`./.env:1:TOKEN=${MASKED}\n`)
  })

  test('is masked before it is stored, hashed and shortened', async () => {
    const filler = 'x\n'.repeat(INLINE_BYTES / 4 - 75)
    const { run, artifacts, cwd } = await projectWith({
      'long.txt': `${filler}${token}${token.slice(0, 1)}\n${filler}${token}\n${filler}`,
    })
    const result = await run('bash_exec', { command: 'cat long.txt' })
    const { sha256 } = result
    if (sha256 === null) throw new Error('nothing was kept')
    const kept = await artifacts.read(sha256)
    const whole = Buffer.concat((await kept?.stream.toArray()) ?? [])
    expect(createHash('sha256').update(whole).digest('hex')).toBe(sha256)
    expect(result.bytes).toBe(whole.length)
    expect(whole.toString().split(MASKED)).toHaveLength(3)
    // The head would end within a token, wherever it ends.
    expect(result.output).not.toContain(token.slice(0, 10))
    for (const folder of await readdir(join(cwd, '..', 'artifacts'))) {
      for (const name of await readdir(join(cwd, '..', 'artifacts', folder))) {
        const file = await readFile(join(cwd, '..', 'artifacts', folder, name), 'utf8')
        expect(file).not.toContain(token.slice(0, 10))
      }
    }
  })

  test('masks a secret that a program prints in pieces', async () => {
    const { run } = await projectWith()
    const [head, tail] = [token.slice(0, 11), token.slice(11)]
    const command = `printf ${head}; sleep 0.05; echo warning >&2; sleep 0.05; echo ${tail}`
    const { output } = await run('bash_exec', { command })
    expect(output.split('\n').sort()).toEqual(['', MASKED, 'warning'])
  })

  test('has no part of a secret at the end of a cut line', async () => {
    const { run } = await projectWith({
      'line.txt': 'x'.repeat(1980) + `${token},`.repeat(20),
      // Masks shorten the line, so that text after them is shown.
      'min.js': `find(${`"${jwt}",`.repeat(30)}`,
    })
    const read = await run('file_read', { path: 'line.txt' })
    expect(read.output).toContain('more characters of this line are left out')
    expect(read.output).not.toContain(token.slice(0, 4))
    const found = await run('grep_search', { pattern: 'find' })
    expect(found.output).not.toContain('eyJ')
    expect(found.output).toMatch(
      /^\.\/min\.js:1:find\(("\[masked:jwt\]",)+" \[… \d+ more characters of this line are left out\]\n$/,
    )
  })

  test('names the problem of arguments without showing any of a secret', async () => {
    const { execute } = await projectWith()
    for (const raw_args of [`{"a": ${token}`, `{"content": "${OWN}" "x"}`, `[${token}`]) {
      const call = { call_id: 'c', tool: 'file_write', args: {}, raw_args, read_only: false }
      const { output, outcome } = await execute(call)
      expect(outcome).toBe('rejected')
      for (let at = 0; at + 6 < token.length; at += 1) {
        expect(output).not.toContain(token.slice(at, at + 6))
      }
      expect(output).not.toContain(OWN.slice(0, 8))
    }
  })

  test('masks a private key of many lines', async () => {
    const { run } = await projectWith({ 'key.pem': `${pem('RSA ', 30)}\n`, 'b.txt': 'b' })
    const both = await run('bash_exec', { command: 'cat key.pem b.txt; head -9 key.pem' })
    expect(both.output).toBe('[masked:private-key]\nb[masked:private-key]\n')
  })
})

describe('a private key', () => {
  test('is masked even if it is read line by line, and the line numbers stay right', async () => {
    const key = pem('RSA ', 30)
    const { run } = await projectWith({ 'key.pem': `before\n${key}\nafter\n` })
    const lines = key.split('\n').length
    const { output } = await run('file_read', { path: 'key.pem' })
    expect(output).toContain('1\tbefore\n2\t[masked:private-key]\n3\t\n')
    expect(output).toMatch(new RegExp(`\\n${lines + 2}\\tafter$`))
    for (let offset = 2; offset < lines + 2; offset += 1) {
      const one = await run('file_read', { path: 'key.pem', offset, limit: 1 })
      expect(one.output).not.toMatch(/[A-Za-z0-9+/]{40}/)
    }
  })
})

describe('a file that was shown with masks', () => {
  test('is not rewritten with masks in place of its secrets', async () => {
    const { run, cwd } = await projectWith({ 'app.env': `A=1\nTOKEN=${token}\n` })
    const { output: shown } = await run('bash_exec', { command: 'cat app.env' })
    const refused = await run('file_write', { path: 'app.env', content: `${shown}B=2\n` })
    expect(refused).toMatchObject({ outcome: 'error' })
    expect(refused.output).toContain(`that you saw as ${MASKED}`)
    expect(await readFile(join(cwd, 'app.env'), 'utf8')).toBe(`A=1\nTOKEN=${token}\n`)
    await run('file_patch', { path: 'app.env', old: 'A=1', new: 'A=2' })
    expect(await readFile(join(cwd, 'app.env'), 'utf8')).toBe(`A=2\nTOKEN=${token}\n`)
  })

  test('is written if it contains the mask itself, or no secret', async () => {
    const { run, cwd } = await projectWith({ 'docs.md': `${MASKED} and ${token}`, 'b.md': 'plain' })
    for (const path of ['docs.md', 'b.md', 'new.md']) {
      expect(await run('file_write', { path, content: `see ${MASKED}` })).toMatchObject({
        outcome: 'ok',
      })
      expect(await readFile(join(cwd, path), 'utf8')).toBe(`see ${MASKED}`)
    }
  })
})
