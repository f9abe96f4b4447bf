// Files that are dropped on the page or pasted: this chat takes none, and the browser must not leave the page for them.

const hasFiles = (data) => data !== null && [...data.types].includes('Files');

/** Calls `refuse()` when somebody tries to give the page a file. */
export function refuseFiles(refuse) {
  for (const type of ['dragenter', 'dragover']) {
    addEventListener(type, (event) => {
      if (!hasFiles(event.dataTransfer)) return;
      event.preventDefault();
      // With 'none' there would be no `drop`, and no word about it.
      event.dataTransfer.dropEffect = 'copy';
    });
  }
  addEventListener('drop', (event) => {
    if (!hasFiles(event.dataTransfer)) return;
    event.preventDefault();
    refuse();
  });
  addEventListener('paste', (event) => {
    // A spreadsheet or a browser puts a picture beside the text.
    if (!hasFiles(event.clipboardData) || event.clipboardData.getData('text/plain')) return;
    event.preventDefault();
    refuse();
  });
}
