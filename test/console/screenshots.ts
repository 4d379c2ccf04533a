import { fileURLToPath } from 'node:url'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { script } from '../../examples/scripted-model/fix-the-calculator.ts'
import type { Script } from '../../examples/scripted-model/script.ts'
import { buildConsole } from '../support/build.ts'
import { launchBrowser } from './support/browser.ts'
import { sampleRuns } from './support/sample-runs.ts'
import { startConsoleServer } from './support/server.ts'

/** Takes the pictures of the console that the documentation shows: `npm run screenshots`. */
const FOLDER = fileURLToPath(new URL('../../docs/screenshots/', import.meta.url))
const DESKTOP = { viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce' } as const
const PHONE = {
  viewport: { width: 390, height: 844 },
  deviceScaleFactor: 1.5,
  isMobile: true,
  hasTouch: true,
  reducedMotion: 'reduce',
} as const

/** Fixes the calculator and then replies slowly, so there is a run that continues. */
const slowly: Script = ({ turn }) => {
  const reply = script[turn]
  if (reply === undefined || turn >= 2) return { text: 'Let me think.', delayMs: 600_000 }
  return 'calls' in reply ? { ...reply, delayMs: 300 } : reply
}

/** @param part what is in the picture; left out: the whole page */
async function shoot(
  browser: Browser,
  name: string,
  options: BrowserContextOptions,
  visit: (page: Page) => Promise<void>,
  part: (page: Page) => Pick<Page, 'screenshot'> = (page) => page,
): Promise<void> {
  const context = await browser.newContext(options)
  const page = await context.newPage()
  page.setDefaultTimeout(120_000)
  await visit(page)
  await page.evaluate('document.fonts.ready')
  await part(page).screenshot({ path: `${FOLDER}${name}.png` })
  await context.close()
  console.log(`docs/screenshots/${name}.png`)
}

async function main(): Promise<void> {
  await buildConsole()
  const { samples, achieved, waiting } = sampleRuns(Date.now() / 1000)
  const server = await startConsoleServer(slowly, samples)
  const browser = await launchBrowser()
  const { url } = server
  const live = await server.start('calculator')
  const run =
    (id: string, hash = '') =>
    async (page: Page) => {
      await page.goto(`${url}/runs/${id}${hash}`)
      await page
        .locator('[data-fact="Iteration"] dd')
        .getByText(/^[2-9] of/)
        .waitFor()
      await page
        .getByTestId('connection')
        .getByText(/Live|received/)
        .waitFor()
      await page.waitForTimeout(400)
    }
  const list = async (page: Page): Promise<void> => {
    await page.goto(url)
    await page.getByText('in calculator').waitFor()
    await page.getByText('in ray-tracer').waitFor()
  }
  try {
    await shoot(browser, 'run-live', DESKTOP, async (page) => {
      await run(live)(page)
      await page.locator('[data-fact="Iteration"] dd').getByText('3 of').waitFor()
      await page.locator('[data-fact="Now"] dd').getByText('Asking the model').waitFor()
      await page.waitForTimeout(400)
    })
    await shoot(browser, 'runs', DESKTOP, list)
    await shoot(browser, 'runs-dark', { ...DESKTOP, colorScheme: 'dark' }, list)
    const dialog = (page: Page) => page.getByRole('dialog')
    const startForm = async (page: Page): Promise<void> => {
      await list(page)
      await page.keyboard.press('n')
      await page.getByRole('radio', { name: /^pytest/ }).click()
      await page.waitForTimeout(300)
    }
    await shoot(browser, 'start', DESKTOP, startForm, dialog)
    const rules = async (page: Page): Promise<void> => {
      await startForm(page)
      const rules = '[{"command": "git push *", "action": "ask", "reason": "People push"}]'
      await page.getByText('Further goals, rules and tools').click()
      await page.getByLabel('Rules for calls').fill(rules)
      await page.getByRole('region', { name: 'Approvals' }).evaluate('(it) => it.scrollIntoView()')
      await page.waitForTimeout(300)
    }
    await shoot(browser, 'start-rules', { ...DESKTOP, colorScheme: 'dark' }, rules, dialog)
    await shoot(browser, 'human-check', DESKTOP, run(waiting))
    await shoot(browser, 'replay', DESKTOP, run(achieved, '#seq=29'))
    await shoot(browser, 'trust', DESKTOP, async (page) => {
      await run(achieved)(page)
      await page.getByText('The server has signed exactly this history').waitFor()
      await page.getByTestId('findings').scrollIntoViewIfNeeded()
    })
    await shoot(browser, 'run-dark', { ...DESKTOP, colorScheme: 'dark' }, run(achieved, '#seq=29'))
    await shoot(browser, 'phone-runs', PHONE, list)
    await shoot(browser, 'phone-run', PHONE, run(achieved))
    await shoot(browser, 'phone-human-check', { ...PHONE, colorScheme: 'dark' }, run(waiting))
    await shoot(browser, 'phone-overview', PHONE, async (page) => {
      await run(achieved)(page)
      await page.getByRole('tab', { name: 'Overview' }).click()
    })
  } finally {
    await browser.close()
    await server.stop()
  }
}

await main()
