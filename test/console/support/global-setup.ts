import { hasBrowser } from './browser.ts'
import { buildConsole } from './build.ts'

/** Before all tests: the console is what its sources say. */
export default async function setup(): Promise<void> {
  if (hasBrowser) await buildConsole()
}
