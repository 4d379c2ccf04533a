import { Kbd, Modal } from '@mantine/core'
import { useFocusReturn } from '../ui/form-dialog.tsx'
import classes from './shell.module.css'

const SHORTCUTS: readonly (readonly [string, readonly (readonly [readonly string[], string])[]])[] =
  [
    [
      'Everywhere',
      [
        [['n'], 'Start a run'],
        [['g'], 'All runs'],
        [['/'], 'Search'],
        [['t'], 'Light or dark'],
        [['?'], 'Show this list'],
      ],
    ],
    [
      'On a run',
      [
        [['Space'], 'Play or pause the replay'],
        [['j', 'k'], 'Next, previous record'],
        [[']', '['], 'Next, previous iteration'],
        [['Home', 'End'], 'First record, back to live'],
        [['↑', '↓', '←', '→'], 'In the timeline: from row to row, and within a row'],
        [['d'], 'Go to the open decision'],
        [['c'], 'Copy a link to this moment'],
      ],
    ],
  ]

export default function Shortcuts({ onClose }: { readonly onClose: () => void }) {
  useFocusReturn()
  return (
    <Modal opened onClose={onClose} title="Keyboard shortcuts" size="lg">
      <div className={classes.groups}>
        {SHORTCUTS.map(([title, shortcuts]) => (
          <section key={title}>
            <h3 className={classes.title}>{title}</h3>
            <dl className={classes.list}>
              {shortcuts.map(([keys, what]) => (
                <div key={what} className={classes.row}>
                  <dt>{what}</dt>
                  <dd>
                    {keys.map((key) => (
                      <Kbd key={key}>{key}</Kbd>
                    ))}
                  </dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
    </Modal>
  )
}
