import { readFile } from 'node:fs/promises'
import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import { bash } from '../support/site.ts'
import { faults } from './support/faults.ts'
import {
  abortIn,
  describeInBrowser,
  untilReceived,
  useBrowser,
  useConsoleServer,
} from './support/page.ts'

const TOKEN = `ghp_${'a1B2'.repeat(9)}`
const FIRST = bash(`
  mkdir -p docs/deep
  seq 1 40 > docs/deep/notes.md
  printf 'token ${TOKEN}\\n' > conf
  printf 'a\\0b' > blob.bin
  echo '<img src=x onerror="window.hurt=1">' > $'x\\u202ey'
  echo odd > $'odd\\xff'
  head -c 6000000 /dev/zero > big
  echo KEY=1 > .env`)
const SECOND = bash(`
  sed -i 's/^20$/twenty/; s/^40$/forty\\r/' docs/deep/notes.md
  mv conf conf.old
  rm blob.bin
  echo KEY=2 > .env`)
const SCRIPT = [FIRST, SECOND]

/** The lines that are shown of a file, with their signs and numbers. */
const shownLines = (page: Page): Promise<unknown> =>
  page.evaluate(`[...document.querySelectorAll('#panel-changes [data-type]')].map((line) =>
    line.dataset.numbers + ' ' + line.dataset.type + ' ' + line.querySelector('code').textContent)`)

describeInBrowser('what a run did to the files', () => {
  const open = useBrowser()
  const server = useConsoleServer(({ turn }) => SCRIPT[turn] ?? { text: 'That is all.' })

  test('is shown to a person who is asked, of each iteration, and at each moment of a replay', async () => {
    const runId = await server.start('changed', { hitl_enabled: true, max_iterations: 3 })
    const page = await open(`${server.url}/runs/${runId}`)
    const panel = page.getByTestId('decide')
    const changes = page.locator('#panel-changes')
    const file = (name: string) => page.getByRole('treeitem', { name })
    const summary = changes.getByRole('status')
    await panel
      .getByText(
        'In this iteration: 5 files changed (+43 −0); 2 left out of snapshots changed. Show',
      )
      .waitFor()
    await panel.getByRole('button', { name: 'Show what changed' }).click()
    await changes.getByText('.env new, its name says that it holds a secret').waitFor()
    await changes.getByText('big new, too large, 6.0 MB').waitFor()
    await changes.getByText('It is binary, or has too many lines to compare: 3 B.').waitFor()
    await file('conf').click()
    await changes.getByText('It holds a secret, which is masked.').waitFor()
    await changes.getByText(/^token \[masked:/).waitFor()

    await panel.getByRole('button', { name: 'Approve' }).click()
    const told = '3 files changed (+2 −2); 1 left out of snapshots changed'
    await panel.getByText(told).waitFor()
    await panel.getByRole('button', { name: 'Show what changed' }).click()
    await summary.getByText(told).waitFor()
    await changes.getByText('.env changed').waitFor()
    await abortIn(page)

    // The arrow keys go from file to file.
    await file('blob.bin').focus()
    await page.keyboard.press('ArrowDown')
    await changes.getByText('It was conf. Its content is the same.').waitFor()
    await page.keyboard.press('ArrowDown')
    await page.keyboard.press('ArrowDown')
    await changes.getByText('Line 17').waitFor()
    const lines = [17, 18, 19].map((n) => ` ${n} ${n} same ${n}`)
    expect(await shownLines(page)).toEqual([
      ...lines,
      ' 20    removed 20',
      '    20 added twenty',
      ' 21 21 same 21',
      ' 22 22 same 22',
      ' 23 23 same 23',
      ' 37 37 same 37',
      ' 38 38 same 38',
      ' 39 39 same 39',
      ' 40    removed 40',
      '    40 added forty␍',
    ])
    await changes.getByRole('button', { name: 'Whole file' }).click()
    await expect.poll(async () => ((await shownLines(page)) as unknown[]).length).toBe(40)
    const saving = page.waitForEvent('download')
    await changes.getByRole('button', { name: 'Download' }).click()
    const saved = await saving
    expect(saved.suggestedFilename()).toBe('notes.md')
    expect(await readFile(await saved.path(), 'utf8')).toMatch(/\n39\nforty\r\n$/)

    await changes.getByRole('combobox', { name: 'Which changes' }).selectOption('run')
    await summary.getByText('4 files changed (+43 −0); 2 left out of snapshots changed').waitFor()
    const { history } = server.client()
    const all = (await history.changes(runId))._unsafeUnwrap()
    expect(all.files.map(({ path }) => path)).toEqual([
      'conf.old',
      'docs/deep/notes.md',
      'odd\ufffd',
      'x\u202ey',
    ])

    // A replay moves it.
    await page.keyboard.press('Home')
    await summary.getByText('There is no snapshot of the files yet.').waitFor()
    const slider = page.getByRole('slider', { name: 'Moment of the run' })
    await slider.fill(String(all.to.seq - 1))
    await summary.getByText('5 files changed (+43 −0)').waitFor()
    await file('blob.bin').waitFor()
    expect(await faults(page)).toEqual([])
    await page.emulateMedia({ colorScheme: 'dark' })
    expect(await faults(page, 'colours')).toEqual([])

    // Names and contents are foreign.
    await file('x⟨U+202E⟩y').click()
    await changes.getByText('<img src=x onerror="window.hurt=1">').waitFor()
    await file('odd\ufffd').click()
    await changes.getByText('odd', { exact: true }).waitFor()
    await changes.getByRole('button', { name: 'Whole file' }).click()
    await changes.getByRole('alert').getByText('has no file "odd').waitFor()
    expect(await page.evaluate('window.hurt')).toBeUndefined()
  })
  test('is asked for when a person opens it; the timeline is where the replay is afterwards', async () => {
    const runId = await server.start('seen', { max_iterations: 2 })
    const page = await open('about:blank', { viewport: { width: 390, height: 844 } })
    const asked: string[] = []
    page.on('request', (request) => {
      const [, path] = /\/(changes.*)$/.exec(request.url()) ?? []
      if (path !== undefined) asked.push(path)
    })
    await page.goto(`${server.url}/runs/${runId}`)
    await untilReceived(page)
    expect(asked).toEqual([])
    await page.getByRole('tab', { name: 'Changes' }).click()
    await page.locator('#panel-changes').getByText('4 files changed (+43 −0)').waitFor()
    await page.getByText('It was conf.').waitFor({ state: 'detached' })
    await page.getByText(/^token \[masked:/).waitFor()
    expect(asked).toHaveLength(2)
    expect(asked[1]).toMatch(/path=conf.old&format=patch$/)
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(390)
    await page.getByRole('slider', { name: 'Moment of the run' }).fill('5')
    await page.getByRole('tab', { name: 'Timeline' }).click()
    await page.getByTestId('timeline').locator('[data-here="true"]').waitFor()
  })
})
