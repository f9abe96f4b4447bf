# In a clone: nix build ./packaging/nix. The source is the whole repository.
{
  description = "A WebSocket server and a durable chat backend in one binary";

  inputs.nixpkgs.url = "nixpkgs/nixos-unstable";

  outputs = { self, nixpkgs }:
    let
      systems = [ "x86_64-linux" "aarch64-linux" ];
      forAll = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
    in
    {
      packages = forAll (pkgs: {
        default = pkgs.rustPlatform.buildRustPackage {
          pname = "switchboard";
          version = "0.1.0";
          src = ../..;
          cargoLock.lockFile = ../../Cargo.lock;
          cargoBuildFlags = [ "-p" "switchboard-server" "--bin" "switchboard" ];
          nativeBuildInputs = [ pkgs.cmake pkgs.installShellFiles ];
          # cmake belongs to a library of cryptography; the project itself has no CMakeLists.txt.
          dontUseCmakeConfigure = true;
          # They start servers and need Chromium, nginx, Redis and others: tests/all.sh.
          doCheck = false;
          postInstall = ''
            installShellCompletion --cmd switchboard \
              --bash <($out/bin/switchboard completions bash) \
              --zsh <($out/bin/switchboard completions zsh) \
              --fish <($out/bin/switchboard completions fish)
            $out/bin/switchboard man --dir man
            installManPage man/*.1
          '';
          meta = {
            description = "A WebSocket server and a durable chat backend in one binary";
            license = with pkgs.lib.licenses; [ mit asl20 ];
            platforms = pkgs.lib.platforms.linux;
            mainProgram = "switchboard";
          };
        };
      });

      nixosModules.default = { config, lib, pkgs, ... }:
        let
          settings = config.services.switchboard;
          file = (pkgs.formats.toml { }).generate "switchboard.toml" settings.settings;
        in
        {
          options.services.switchboard = {
            enable = lib.mkEnableOption "the chat server Switchboard";
            settings = lib.mkOption {
              type = (pkgs.formats.toml { }).type;
              default = { };
              description = "Keys of the configuration file: docs/configuration.md.";
            };
          };
          config = lib.mkIf settings.enable {
            systemd.services.switchboard = {
              description = "Switchboard, a WebSocket chat server";
              wantedBy = [ "multi-user.target" ];
              after = [ "network-online.target" ];
              wants = [ "network-online.target" ];
              serviceConfig = {
                Type = "notify";
                ExecStart = "${self.packages.${pkgs.system}.default}/bin/switchboard serve --data /var/lib/switchboard/data --config ${file}";
                DynamicUser = true;
                StateDirectory = "switchboard";
                WatchdogSec = "30s";
                Restart = "on-failure";
                LimitNOFILE = 524288;
                ProtectSystem = "strict";
                ProtectHome = true;
                PrivateDevices = true;
              };
            };
          };
        };
    };
}
