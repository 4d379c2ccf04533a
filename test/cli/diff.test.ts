import { EventEmitter } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { stripVTControlCharacters } from 'node:util'
import { expect, test } from 'vitest'
import { runCommandLine } from '../../src/cli/command-line.ts'
import { temporaryFolder } from '../runner/support.ts'
import { serve } from '../support/serve.ts'
import { cleanEnv } from './support.ts'

const PATCH = `diff --git a/a b/a
new file mode 100644
index 0000000000000000000000000000000000000000..5626abf0f72e58d7a153368ba57db4c673c0e171
--- /dev/null
+++ b/a
@@ -0,0 +1 @@
+one
`

const RUN = '550e8400-e29b-41d4-a716-446655440000'

const counts = { additions: 0, deletions: 0, binary: false }

/** What a command writes, by default `retrai diff`, if the content of these files was not kept. */
async function diff(
  pager: string,
  isTTY: boolean,
  args = ['diff', RUN],
  lost: readonly string[] = [],
): Promise<string> {
  const files = lost.map((path) => ({ path, status: 'added', ...counts, withheld: 'not_kept' }))
  const snapshot = (seq: number) => ({ seq, tree: String(seq).repeat(64) })
  const changes = { run_id: RUN, from: snapshot(1), to: snapshot(2), files, unknown: [] }
  const url = await serve(({ method, url = '' }, response) => {
    if (url.includes('format=patch')) {
      response.setHeader('content-type', 'text/x-patch')
      return void response.end(PATCH)
    }
    const applied = { files: [], not_carried: [], patch: PATCH, seq: 9 }
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(method === 'GET' ? { ...changes, left_out: [] } : applied))
  })
  let shown = ''
  const output = () =>
    new Writable({
      write: (chunk, _encoding, done) => {
        shown += String(chunk)
        done()
      },
    })
  const env = { ...cleanEnv(), RETRAI_SERVER: url, PAGER: pager }
  const streams = { stdout: Object.assign(output(), { isTTY }), stderr: output() }
  const io = Object.assign(new EventEmitter(), { env, stdin: Readable.from([]), ...streams })
  expect(await runCommandLine(args, io)).toBe(0)
  return shown
}

test('a patch at a terminal is shown with $PAGER', async () => {
  const file = join(await temporaryFolder(), 'paged')
  expect(await diff(`cat > ${file}`, true)).toBe('')
  expect(stripVTControlCharacters(await readFile(file, 'utf8'))).toBe(PATCH)
})

test('a patch at a terminal without a pager is shown there, and a pager that ends early does no harm', async () => {
  expect(stripVTControlCharacters(await diff('', true))).toBe(PATCH)
  expect(await diff('true', true)).toBe('')
})

test('a patch for a program is the same to the byte', async () => {
  expect(await diff('false', false)).toBe(PATCH)
  expect(await diff('false', false, ['apply', RUN, '--as', 'patch'])).toBe(PATCH)
})

test('a file that is not in the patch, because its content was not kept, is named', async () => {
  const shown = await diff('', false, ['diff', RUN], ['a password.txt'])
  expect(shown).toBe(`${PATCH}not in the patch: a password.txt\n`)
})
