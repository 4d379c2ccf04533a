import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { isMissing } from '../../support/missing.ts'
import { launchBrowser } from './browser.ts'
import { type ConsoleServer, startConsoleServer } from './server.ts'

/** Tests in a real browser; without one they are skipped. */
export const describeInBrowser = describe.skipIf(isMissing('chromium'))

/** Some tests cause network errors; every other complaint of the browser is a failure. */
const NETWORK = /net::ERR_|WebSocket connection to|status of (404|409|422)/

/**
 * In the place of the notices of the desktop: each browser without a screen answers something else. As before a person
 * has answered, a page may still ask for them.
 */
const NOTICES = `window.asked = 0
window.shown = []
window.Notification = class {
  static permission = 'default'
  static async requestPermission() {
    window.asked += 1
    this.permission = 'granted'
  }
  constructor(title, { body, tag }) { window.shown.push({ title, body, tag }) }
}`

/** All files of a worker use one browser, because its start takes seconds. It ends with the worker. */
let browser: Browser | undefined

/**
 * Opens pages, closes them after each test, and fails the test for any complaint of the page.
 * @param expected what the browser may complain of besides
 */
export function useBrowser(expected = NETWORK) {
  const complaints: string[] = []
  beforeAll(async () => {
    if (browser?.isConnected() !== true) browser = await launchBrowser()
  })
  afterEach(async () => {
    for (const context of browser?.contexts() ?? []) {
      // A handler of a test may still wait for an answer that the page does not need any more.
      for (const page of context.pages()) await page.unrouteAll({ behavior: 'ignoreErrors' })
      await context.close()
    }
    expect(complaints.splice(0)).toEqual([])
  })
  return async (url: string, { received, ...options }: Opening = {}): Promise<Page> => {
    if (browser === undefined) throw new Error('pages are opened in tests')
    const context = await browser.newContext({
      viewport: { width: 1280, height: 800 },
      reducedMotion: 'reduce',
      ...options,
    })
    await context.addInitScript(NOTICES)
    const page = await context.newPage()
    page.setDefaultTimeout(90_000)
    page.on('pageerror', (error) => complaints.push(String(error)))
    page.on('console', (message) => {
      const text = message.text()
      const told = NETWORK.test(text) || expected.test(text)
      if (message.type() === 'error' && !told) complaints.push(text)
    })
    await page.goto(url)
    if (received) await untilReceived(page)
    return page
  }
}

/** `received`: the page of a run that has ended, when all its records have arrived. */
type Opening = BrowserContextOptions & { readonly received?: true }

export const untilReceived = (page: Page): Promise<void> =>
  page.getByTestId('connection').getByText('All records received').waitFor()

/** A server for the tests of a block: it starts before the first of them, and stops after the last. */
export function useConsoleServer(
  ...options: Parameters<typeof startConsoleServer>
): Omit<ConsoleServer, 'stop'> {
  let server: ConsoleServer
  beforeAll(async () => {
    server = await startConsoleServer(...options)
  })
  afterAll(() => server.stop())
  return {
    get url() {
      return server.url
    },
    client: (token) => server.client(token),
    path: (...names) => server.path(...names),
    newProject: (name) => server.newProject(name),
    start: (project, body) => server.start(project, body),
    restart: (change) => server.restart(change),
  }
}

/** The token of servers that need one. */
export const TOKEN = 'a-token-of-sixteen-characters-or-more'

/** Gives a page the token that it asks for. */
export async function signIn(page: Page, token = TOKEN): Promise<void> {
  await page.getByLabel('Token', { exact: true }).fill(token)
  await page.getByRole('button', { name: 'Continue' }).click()
}

/** Ends a run in the panel of its human check, which asks first. */
export async function abortIn(page: Page): Promise<void> {
  const name = 'Abort the run'
  await page.getByTestId('decide').getByRole('button', { name }).click()
  await page.getByRole('dialog').getByRole('button', { name }).click()
}

/** The value of one of the facts at the head of a run. */
export const fact = (page: Page, name: string) => page.locator(`[data-fact="${name}"] dd`)

/** How many elements the timeline is made of. */
export const elementsIn = (page: Page, testId: string): Promise<number> =>
  page.getByTestId(testId).locator('*').count()

/** Shows the fields of a form that few need, by the keyboard: what is unfolded above moves the next one from under a pointer. */
export async function unfold(form: Locator): Promise<void> {
  const summaries = form.locator('details > summary')
  await summaries.first().waitFor()
  for (const summary of await summaries.all()) await summary.press('Enter')
}
