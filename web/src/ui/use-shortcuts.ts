import { type HotkeyItem, useHotkeys } from '@mantine/hooks'

/** Shortcuts of the page. They do nothing while a dialog is open. */
export function useShortcuts(shortcuts: readonly HotkeyItem[]): void {
  useHotkeys(
    shortcuts.map(([keys, act, options]) => [
      keys,
      (event) => {
        if (document.querySelector('[aria-modal="true"]') !== null) return
        if (options?.preventDefault !== false) event.preventDefault()
        act(event)
      },
      { ...options, preventDefault: false },
    ]),
  )
}
