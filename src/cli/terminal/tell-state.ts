import type { WatchState } from '../../client/index.ts'
import { say } from './print.ts'

/** Tells a person when a connection is lost, and when it is back. */
export function tellState(): (state: WatchState) => void {
  let lost = false
  return (state) => {
    if (state === 'reconnecting' && !lost) say('The connection is lost; trying to connect again …')
    if (state === 'live' && lost) say('Connected again.')
    lost = state === 'reconnecting'
  }
}
