import { createReadStream } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { unpacked } from '../../src/audit/bundle/unpack.ts'
import { verifyBundle } from '../../src/audit/verify/verify-bundle.ts'
import { cleanEnv, retrai } from '../cli/support.ts'
import { bash, Site, type SiteServer, until } from '../support/site.ts'
import { faults } from './support/faults.ts'
import { longRun } from './support/long-run.ts'
import { describeInBrowser, useBrowser } from './support/page.ts'
import { seed } from './support/seed.ts'

const HOSTILE = `</script></pre><img src=x onerror="document.title='hacked'"><script>document.title='hacked'</script>\u202e`
const TOKEN = `ghp_${'a1B2'.repeat(9)}`
const SCRIPT = [
  {
    text: `I write a page: ${HOSTILE}`,
    calls: [
      { tool: 'file_write', args: { path: 'a.html', content: `${HOSTILE}\n` } },
      { tool: 'bash_exec', args: { command: `printf 'token ${TOKEN}\\n' > conf` } },
    ],
  },
  bash('touch done'),
]
const LONG = '550e8400-e29b-41d4-a716-446655440000'

describeInBrowser('a page of evidence', () => {
  /** A script that was changed does not run, and the browser reports that. */
  const open = useBrowser(/Content Security Policy/)
  let site: Site
  let server: SiteServer
  let runId: string
  const file = (name: string): string => site.path(name)

  async function exported(name: string, ...options: string[]): Promise<string> {
    const done = await server.retrai('export', runId, '--html', file(name), ...options)
    expect(done, done.stderr).toMatchObject({ code: 0 })
    return file(name)
  }

  async function opened(path: string, on?: Page): Promise<{ page: Page; verdict: string | null }> {
    const page = on ?? (await open('about:blank'))
    await page.goto(`file://${path}`)
    const html = page.locator('html:not([data-verdict="verifying"])')
    await html.waitFor({ state: 'attached' })
    return { page, verdict: await html.getAttribute('data-verdict') }
  }

  beforeAll(async () => {
    site = await Site.open()
    await seed(site.path('data'), [longRun(LONG, 3_000, 1_790_000_000)])
    const model = await site.model(SCRIPT)
    const env = { RETRAI_CHECKPOINT_SECONDS: '1' }
    server = await site.serve('data', { model, env, token: 'a-token-of-sixteen-characters' })
    await site.project()
    await site.write('project/old.txt', 'one\n')
    const rule = { command: 'touch *', action: 'ask', reason: 'It ends the run' }
    const asked = { reason: 'an embarrassing reason', instructions: HOSTILE, approvals: [rule] }
    runId = await server.start('project', asked)
    await server.untilStatus(runId, 'awaiting_human')
  })
  afterAll(() => site.close())

  test('shows what was asked, said, changed and allowed, and says that it holds, before and after the end', async () => {
    const before = await opened(await exported('before.html'))
    expect(before.verdict).toBe('holds')
    expect(await before.page.textContent('main')).toContain('the run had not ended')

    const { body } = await server.get(`/api/runs/${runId}`)
    const [, call = ''] = /"call_sha256":"([^"]+)"/.exec(JSON.stringify(body)) ?? []
    const allowed = await server.retrai('approve', runId, call, '--reason', 'Fine')
    expect(allowed, allowed.stderr).toMatchObject({ code: 0 })
    await server.untilStatus(runId, 'achieved')
    await server.retrai('redact', runId, '0', '/reason', '--reason', 'private', '--force')
    await until(
      () => server.get(`/api/runs/${runId}/proof`),
      ({ body }) => body.log !== null,
    )
    const { page, verdict } = await opened(await exported('whole.html', '--files'))
    expect(verdict).toBe('holds')
    const text = (await page.textContent('main')) ?? ''
    for (const part of [
      'This evidence holds',
      'Article 12(3)(a)',
      'Article 19(1)',
      'I write a page: </script>',
      'a.html: added',
      '⟨U+202E⟩',
      'conf: added',
      'Its content is not in this export',
      'Fine',
      'that of the question',
      'It ends the run',
      'by token: private',
      'Tokens in',
      'Checkpoint',
      'retrai/',
      'conf (',
      'achieved',
    ])
      expect(text).toContain(part)
    expect(text).not.toContain('embarrassing')
    expect(text).not.toContain(TOKEN)
    // What the run said is text.
    expect(await page.locator('img, script:not(#export, #seal)').count()).toBe(1)
    expect(await page.title()).not.toBe('hacked')
    expect(await faults(page)).toEqual([])
    const records = page.locator('.group details')
    await records.first().locator('summary').click()
    await records.first().getByText('"kind": "run_created"').waitFor()
    const download = page.waitForEvent('download')
    await page.getByRole('button', { name: 'Save the export' }).click()
    const archive = await readFile(await (await download).path())
    const whole = await readFile(file('whole.html'), 'latin1')
    expect(whole).toContain(archive.toString('base64'))
    for (const args of [
      ['verify', file('whole.html')],
      ['import', file('whole.html'), '--data-dir', file('other')],
    ])
      expect(await retrai(args, cleanEnv())).toMatchObject({ code: 0 })
  })

  test('is an answer of the server', async () => {
    const path = `/api/runs/${runId}/export?format=html`
    const { headers, text } = await server.get(path)
    expect(headers.get('content-type')).toBe('text/html; charset=utf-8')
    expect(headers.get('content-disposition')).toBe(
      `attachment; filename="retrai-run-${runId}.html"`,
    )
    await writeFile(file('answer.html'), text)
    expect((await opened(file('answer.html'))).verdict).toBe('holds')
  })

  test('turns red if one byte of it is another one, and so does `retrai verify`', async () => {
    const whole = await readFile(await exported('sealed.html', '--force'))
    const text = whole.toString('latin1')
    const at = (before: string, more = 0): number => text.indexOf(before) + before.length + more
    const lastAt = (before: string): number => text.lastIndexOf(before) + before.length
    const data = lastAt('gzip+base64">')
    const end = text.lastIndexOf('</script><script id="seal"')
    const places = {
      doctype: 3,
      verdict: at('data-verdict="'),
      policy: at("default-src '"),
      hash: at('script-src '),
      words: at('<main>'),
      tag: at('<mai', -3),
      inStyle: at('<style>', 200),
      inScript: at('<script>', 100_000),
      data,
      inData: Math.floor((data + end) / 2),
      last: text.length - 2,
      seal: lastAt('<script id="seal" type="text/plain">') + 9,
    }
    const tab = await open('about:blank')
    for (const [name, place] of Object.entries(places)) {
      const changed = Buffer.from(whole)
      changed[place] = (changed[place] ?? 0) ^ 1
      await writeFile(file('changed.html'), changed)
      const { page, verdict } = await opened(file('changed.html'), tab)
      expect(verdict, name).toBe('fails')
      expect(await page.textContent('body'), name).toMatch(/.OT (hold|VERIFIED)/)
      const verified = await retrai(['verify', file('changed.html')], cleanEnv())
      expect(verified.code, name).toBe(1)
    }
    const small = createReadStream(file('sealed.html'), { highWaterMark: 4099 })
    expect(await verifyBundle(unpacked(small))).toMatchObject({ holds: true })
    // To a browser, this is the same page.
    await writeFile(file('changed.html'), text.replace('<main>', '<MAIN>'), 'latin1')
    expect((await opened(file('changed.html'))).verdict).toBe('holds')
    expect((await retrai(['verify', file('changed.html')], cleanEnv())).code).toBe(1)
  })

  test('opens with 3,000 records, and prints its essentials', async () => {
    runId = LONG
    const { page, verdict } = await opened(await exported('long.html'))
    expect(verdict).toBe('holds')
    await expect.poll(() => page.locator('.group details').count()).toBeGreaterThanOrEqual(3_000)
    await page.emulateMedia({ media: 'print' })
    expect((await page.pdf({ pageRanges: '1-3' })).length).toBeGreaterThan(10_000)
  })
})
