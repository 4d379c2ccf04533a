import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import { gatedModel } from './support/gate.ts'
import { longRun } from './support/long-run.ts'
import {
  abortIn,
  describeInBrowser,
  signIn,
  TOKEN,
  untilReceived,
  useBrowser,
  useConsoleServer,
} from './support/page.ts'
import { sampleRuns } from './support/sample-runs.ts'

const VERIFIED = /^([\d,]+) of \1 records verified here, in your browser/
const SIGNED = 'The server has signed exactly this history'

type Body = Readonly<Record<string, unknown>>
const renamed = (key: Body): Body => ({ ...key, fingerprint: 'f'.repeat(64) })

const findings = (page: Page) => page.getByTestId('findings')
const Proof = z.looseObject({
  length: z.int(),
  head: z.string(),
  key: z.string(),
  policy_sha256: z.string().optional(),
})
const Keys = z.object({ keys: z.array(z.looseObject({ fingerprint: z.string() })) })

async function proofOf(url: string, runId: string) {
  const answer: unknown = await (await fetch(`${url}/api/runs/${runId}/proof`)).json()
  return Proof.parse(answer)
}

describeInBrowser('a run that continues, verified in the browser', () => {
  const open = useBrowser()
  const { model, allowReplies } = gatedModel()
  const server = useConsoleServer(model)

  test('is verified as it arrives, and signed on request', async () => {
    const runId = await server.start('calculator', { hitl_enabled: true })
    const page = await open(`${server.url}/runs/${runId}`)
    allowReplies(1)
    await page.getByTestId('decide').waitFor()
    await findings(page).getByText(VERIFIED).waitFor()
    await findings(page).getByText('The server has not signed this yet').waitFor()
    await findings(page).getByRole('button', { name: 'Ask for its signature now' }).click()
    const { length } = await proofOf(server.url, runId)
    await findings(page).getByText(`The server has signed the first ${length} records`).waitFor()

    allowReplies(3)
    await page.getByTestId('decide').getByRole('button', { name: 'Approve' }).click()
    await page.getByTestId('decide').getByText('2 of 9 tests failing').waitFor()
    await findings(page).getByText(`The server has signed the first ${length} records`).waitFor()
    await abortIn(page)

    await untilReceived(page)
    const proof = await proofOf(server.url, runId)
    await findings(page).getByText(SIGNED).waitFor()
    await findings(page).getByText('It names the recorded isolation policy').waitFor()
    await page.getByText(proof.policy_sha256 ?? 'no policy').waitFor()
    await findings(page).getByText(`${proof.length} of ${proof.length} records verified`).waitFor()
    await page.getByText(proof.head, { exact: true }).waitFor()
    const answer: unknown = await (await fetch(`${server.url}/api/keys`)).json()
    const [key] = Keys.parse(answer).keys
    await page.getByText(key?.fingerprint ?? '', { exact: true }).waitFor()
  })
})

const now = Date.now() / 1000

describeInBrowser('a stored history', () => {
  const open = useBrowser(/status of 401|Cross-Origin-Opener-Policy header has been ignored/)
  const { samples, achieved } = sampleRuns(now)
  const longId = randomUUID()
  const long = longRun(longId, 10_100, now - 90_000)
  const sample = samples.find(({ records }) => records[0]?.run_id === achieved)
  const changed =
    sample?.records.findIndex((record) => JSON.stringify(record).includes('for three reasons')) ??
    -1
  const server = useConsoleServer([], [...samples, long], { RETRAI_TOKEN: TOKEN })

  /** Opens a page with the token. @param prepare what happens before the page asks the server */
  async function visit(path: string, prepare?: (page: Page) => Promise<unknown>): Promise<Page> {
    const page = await open('about:blank')
    await prepare?.(page)
    await page.goto(new URL(path, server.url).href)
    await signIn(page)
    return page
  }

  test('that is long is verified on request', async () => {
    const { runs } = server.client(TOKEN)
    const length = async () => (await runs.get(longId)).map(({ progress }) => progress.seq + 1)
    await expect.poll(async () => (await length()).unwrapOr(0)).toBe(long.records.length)
    const page = await visit(`/runs/${longId}`)
    await untilReceived(page)
    const what = 'The hashes of this long run have not been verified here'
    await findings(page).getByText(what).waitFor()
    await findings(page)
      .getByText(/^The server has signed .*, and not all of them are verified/)
      .waitFor()
    expect(await findings(page).getByText(VERIFIED).count()).toBe(0)
    await findings(page)
      .getByRole('button', { name: /^Verify 10,\d+ records/ })
      .click()
    await findings(page).getByText(VERIFIED).waitFor()
    await findings(page).getByText(SIGNED).waitFor()
  })

  test('is verified without TLS too, when browsers provide no cryptography', async () => {
    const page = await visit(`${server.url.replace('127.0.0.1', 'retrai.test')}/runs/${achieved}`)
    await findings(page).getByText(VERIFIED).waitFor()
    await findings(page).getByText(SIGNED).waitFor()
    expect(await page.evaluate('[isSecureContext, typeof crypto.subtle]')).toEqual([
      false,
      'undefined',
    ])
  })

  test('is shown as signed even if the page loses its request for the signature, with who has seen the newest checkpoint, and when', async () => {
    let asked = 0
    const at = new Date(Date.now() - 70_000).toISOString()
    const witnesses = [
      { name: 'w/1', size: 7, at, problem: null },
      { name: 'w/2', size: null, at: null, problem: 'It cannot be reached.' },
      { name: 'w/3', size: 7, at, problem: null },
    ]
    const quorum = { needed: 2, seen: 2, holds: true }
    const stamp = { name: 'Clock', size: 7, at, problem: 'It answers with the status 500.' }
    const page = await visit(`/runs/${achieved}`, async (page) => {
      await page.route('**/proof', (route) => {
        asked += 1
        return asked === 1 ? route.abort('connectionreset') : route.continue()
      })
      await page.route('**/api/log', (route) =>
        route.fulfill({ json: { origin: 'o', key: 'k', size: 7, quorum, witnesses, stamp } }),
      )
    })
    await findings(page).getByText(SIGNED).waitFor()
    expect(asked).toBe(2)
    await findings(page).getByText('seen by 2 of 3 witnesses, 1 min ago').waitFor()
    await findings(page).getByText('w/2: It cannot be reached').waitFor()
    await findings(page).getByText('stamped by Clock at').waitFor()
    await findings(page).getByText('the status 500').waitFor()
  })

  describe('is not reported as signed', () => {
    const tampered: readonly (readonly [string, string, (body: Body) => unknown, string])[] = [
      [
        'where the proof was changed',
        '**/proof',
        (proof) => ({ ...proof, signed_at: '2020-01-01T00:00:00.000Z' }),
        'The signature is not valid for the key that it names',
      ],
      [
        'where the key is not published',
        '**/api/keys',
        () => ({ keys: [] }),
        'Signed by a key that the server does not publish',
      ],
      [
        'where a key is published under the name of another',
        '**/api/keys',
        ({ keys }) => ({ keys: z.array(z.looseObject({})).parse(keys).map(renamed) }),
        "The server's signature cannot be read",
      ],
    ]
    test.each(tampered)('%s', async (_, path, change, told) => {
      const page = await visit(`/runs/${achieved}`, (page) =>
        page.route(path, async (route) => {
          const answer = await route.fetch()
          const body = z.record(z.string(), z.unknown()).parse(await answer.json())
          await route.fulfill({ response: answer, json: change(body) })
        }),
      )
      await findings(page).getByText(told).waitFor()
      await findings(page).getByText(VERIFIED).waitFor()
      expect(await findings(page).getByText(SIGNED).count()).toBe(0)
    })
  })

  test('reports which texts were redacted, and verifies without them', async () => {
    const output = sample?.records.findIndex(({ kind }) => kind === 'tool_result') ?? -1
    const answer = await fetch(`${server.url}/api/runs/${achieved}/redact`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${TOKEN}` },
      body: JSON.stringify({ seq: output, pointer: '/output', reason: 'A name' }),
    })
    expect([answer.status, await answer.text()]).toEqual([200, expect.any(String)])
    const page = await visit(`/runs/${achieved}#seq=${output}`)
    await findings(page).getByText('1 text redacted in 1 record').waitFor()
    await page.getByTestId('timeline').getByText('1 text redacted in this record').waitFor()
    await findings(page).getByText(VERIFIED).waitFor()
    await findings(page).getByText(SIGNED).waitFor()
  })

  test('with one changed character on the disk reports its first bad record, and one that was deleted is reported in the list of runs', async () => {
    await server.restart((dataDir) => {
      const log = new DatabaseSync(join(dataDir, 'log.sqlite'))
      const ofRun = 'stream_id = (SELECT id FROM streams WHERE name = ?)'
      const how = `UPDATE events SET data = replace(data, 'for three reasons', 'for three Reasons')`
      const update = log.prepare(`${how} WHERE revision = ? AND ${ofRun}`)
      expect(update.run(changed, `run-${achieved}`).changes).toBe(1)
      log.prepare(`DELETE FROM events WHERE ${ofRun}`).run(`run-${longId}`)
      log.close()
    })
    const page = await visit(`/runs/${achieved}`)
    await findings(page).getByText(`Record ${changed} is not valid`).waitFor()
    await findings(page).getByText(`The ${changed} records before it are valid.`).waitFor()
    const unverified = /^The server has signed .*, and not all of them are verified here$/
    await findings(page).getByText(unverified).waitFor()
    expect(await findings(page).getByText(VERIFIED).count()).toBe(0)
    await findings(page)
      .getByRole('button', { name: `Look at record ${changed}` })
      .click()
    await page.waitForURL(`**#seq=${changed}`)
    await page.getByTestId('timeline').getByText('for three Reasons').waitFor()
    await page.getByTestId('timeline').getByText(`Record ${changed} is not valid`).waitFor()
    await page.goto(server.url)
    await page.getByRole('alert').getByText("The server's own verification has failed.").waitFor()
  })
})
