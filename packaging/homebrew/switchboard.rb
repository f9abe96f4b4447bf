# A formula for a tap: `brew install TAP/switchboard`. packaging/release.sh fills in the address and the checksum.
class Switchboard < Formula
  desc "WebSocket server and durable chat backend in one binary"
  homepage "https://switchboard.example/"
  url "https://switchboard.example/releases/switchboard-0.1.0.tar.gz"
  sha256 "0000000000000000000000000000000000000000000000000000000000000000"
  license any_of: ["MIT", "Apache-2.0"]

  depends_on "cmake" => :build
  depends_on "rust" => :build
  depends_on :linux

  def install
    system "cargo", "install", *std_cargo_args(path: "server")
    generate_completions_from_executable(bin/"switchboard", "completions")
    system bin/"switchboard", "man", "--dir", man1
    (etc/"switchboard").install "packaging/debian/switchboard.toml" => "switchboard.toml.sample"
  end

  service do
    run [opt_bin/"switchboard", "serve", "--data", var/"switchboard"]
    keep_alive true
    log_path var/"log/switchboard.log"
    error_log_path var/"log/switchboard.log"
  end

  test do
    port = free_port
    assert_match "switchboard #{version}", shell_output("#{bin}/switchboard --version")
    fork { exec bin/"switchboard", "--ephemeral", "--listen", "127.0.0.1:#{port}" }
    sleep 2
    assert_equal "ready\n", shell_output("curl -s http://127.0.0.1:#{port}/readyz")
  end
end
